/* SPDX-License-Identifier: MIT */
/* Socket addresses as endpoints. */
#include "wire/endpoint.h"

#include <endian.h>
#include <netinet/in.h>
#include <string.h>

static void set_inet6(struct endpoint *endpoint, const struct sockaddr_in6 *inet6)
{
	endpoint->port = be16toh(inet6->sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&inet6->sin6_addr)) {
		endpoint->family = ENDPOINT_INET;
		memcpy(endpoint->address, inet6->sin6_addr.s6_addr + 12, 4);
		return;
	}
	endpoint->family = ENDPOINT_INET6;
	endpoint->scope = inet6->sin6_scope_id;
	memcpy(endpoint->address, &inet6->sin6_addr, 16);
}

void endpoint_set(struct endpoint *endpoint, const struct sockaddr_storage *address)
{
	const struct sockaddr_in *inet = (const void *)address;

	memset(endpoint, 0, sizeof(*endpoint));
	switch (address->ss_family) {
	case AF_INET:
		endpoint->family = ENDPOINT_INET;
		endpoint->port = be16toh(inet->sin_port);
		memcpy(endpoint->address, &inet->sin_addr, 4);
		break;
	case AF_INET6:
		set_inet6(endpoint, (const void *)address);
		break;
	case AF_UNIX:
		endpoint->family = ENDPOINT_UNIX;
		break;
	default:
		endpoint->family = ENDPOINT_NONE;
	}
}

bool endpoint_address(const struct endpoint *endpoint, uint8_t ret_address[16])
{
	switch (endpoint->family) {
	case ENDPOINT_INET:
		memset(ret_address, 0, 10);
		memset(ret_address + 10, 0xff, 2);
		memcpy(ret_address + 12, endpoint->address, 4);
		return true;
	case ENDPOINT_INET6:
		memcpy(ret_address, endpoint->address, 16);
		return true;
	default:
		return false;
	}
}
