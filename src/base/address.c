/* SPDX-License-Identifier: MIT */
/* Socket addresses and network prefixes as users write and read them. */
#include "base/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cidr.h"
#include "base/number.h"

static int fail(int error, const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return error;
}

/* Skips the interface of fe80::1%eth0, which address_scope() reads. */
static bool parse_inet6(const char *host, struct in6_addr *ret_address)
{
	char literal[INET6_ADDRSTRLEN];
	size_t length = strcspn(host, "%");

	if (length >= sizeof(literal) || (host[length] == '%' && host[length + 1] == '\0'))
		return false;
	*(char *)mempcpy(literal, host, length) = '\0';
	return inet_pton(AF_INET6, literal, ret_address) == 1;
}

int address_parse_unix(const char *path, struct address_spec *ret_spec, const char **ret_why)
{
	static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) <= ADDRESS_HOST_MAX, "");
	struct address_spec spec = { .is_unix = true };

	if (path[0] != '/')
		return fail(-EINVAL, ret_why, "the path of a Unix socket must begin with /");
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return fail(-ENAMETOOLONG, ret_why,
			    "the path of a Unix socket has more than 107 bytes");
	strcpy(spec.host, path);
	*ret_spec = spec;
	return 0;
}

/* Cuts host (a copy of the text) at its port. *ret_port_text is NULL when it has none. */
static int split_host(char **host, char **ret_port_text, const char **ret_why)
{
	struct in6_addr address;
	char *colon;

	*ret_port_text = NULL;
	if (**host == '[') {
		char *end = strchr(++*host, ']');

		if (!end || (end[1] != '\0' && end[1] != ':'))
			return fail(-EINVAL, ret_why, "expected [ADDRESS] or [ADDRESS]:PORT");
		if (end[1] == ':')
			*ret_port_text = end + 2;
		*end = '\0';
		if (!parse_inet6(*host, &address))
			return fail(-EINVAL, ret_why, "no IPv6 address between the brackets");
		return 0;
	}
	if (parse_inet6(*host, &address))
		return 0;
	colon = strchr(*host, ':');
	if (!colon)
		return 0;
	if (strchr(colon + 1, ':'))
		return fail(-EINVAL, ret_why,
			    "too many colons (an IPv6 address with a port needs brackets)");
	*colon = '\0';
	*ret_port_text = colon + 1;
	return 0;
}

static bool is_printable(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text <= ' ' || *text == 0x7f)
			return false;
	}
	return true;
}

int address_parse(const char *text, int default_port, struct address_spec *ret_spec,
		  const char **ret_why)
{
	char copy[ADDRESS_HOST_MAX + sizeof("[]:65535")];
	struct address_spec spec = { .port = (uint16_t)default_port };
	char *host = copy;
	char *port_text;
	uint64_t port;
	int r;

	if (!is_printable(text))
		return fail(-EINVAL, ret_why, "space or control character in an address");
	if (strncmp(text, "unix:", 5) == 0)
		return address_parse_unix(text + 5, ret_spec, ret_why);
	if (strstr(text, "://"))
		return fail(-EINVAL, ret_why, "an address has no scheme (as http://)");
	if (strlen(text) >= sizeof(copy))
		return fail(-ENAMETOOLONG, ret_why, "too long");
	strcpy(copy, text);

	r = split_host(&host, &port_text, ret_why);
	if (r < 0)
		return r;
	if (*host == '\0')
		return fail(-EINVAL, ret_why, "host missing (* means every address)");
	if (strchr(host, '/'))
		return fail(-EINVAL, ret_why, "not a host name (a Unix socket is unix:/PATH)");
	if (strlen(host) >= sizeof(spec.host))
		return fail(-ENAMETOOLONG, ret_why, "host name too long");
	if (!port_text && default_port < 0)
		return fail(-EINVAL, ret_why, "port missing");
	if (port_text) {
		r = number_parse(port_text, 0, UINT16_MAX, &port);
		if (r < 0)
			return fail(r, ret_why, r == -ERANGE ? "port not in 0-65535" :
							       "port is not a number");
		spec.port = (uint16_t)port;
	}
	spec.is_wildcard = strcmp(host, "*") == 0;
	strcpy(spec.host, host);
	*ret_spec = spec;
	return 0;
}

static bool make_literal(const char *host, uint16_t port, struct address *ret_address)
{
	struct address address = {0};

	if (inet_pton(AF_INET, host, &address.in.sin_addr) == 1) {
		address.length = sizeof(address.in);
		address.in.sin_family = AF_INET;
		address.in.sin_port = htons(port);
	} else if (parse_inet6(host, &address.in6.sin6_addr)) {
		address.length = sizeof(address.in6);
		address.in6.sin6_family = AF_INET6;
		address.in6.sin6_port = htons(port);
	} else {
		return false;
	}
	*ret_address = address;
	return true;
}

int address_expand(const struct address_spec *spec,
		   struct address ret_addresses[ADDRESS_EXPAND_MAX])
{
	const char *hosts[ADDRESS_EXPAND_MAX] = { spec->host, NULL };
	int count = 0;

	if (spec->is_unix) {
		ret_addresses[0] = (struct address){ .length = sizeof(struct sockaddr_un),
						     .un = { .sun_family = AF_UNIX } };
		/* address_parse() refuses longer ones */
		memcpy(ret_addresses[0].un.sun_path, spec->host,
		       strnlen(spec->host, sizeof(ret_addresses[0].un.sun_path) - 1));
		return 1;
	}
	if (spec->is_wildcard) {
		hosts[0] = "::";
		hosts[1] = "0.0.0.0";
	} else if (strcasecmp(spec->host, "localhost") == 0) {
		hosts[0] = "127.0.0.1";
		hosts[1] = "::1";
	}
	while (count < ADDRESS_EXPAND_MAX && hosts[count] &&
	       make_literal(hosts[count], spec->port, &ret_addresses[count]))
		ret_addresses[count++].is_datagram = spec->is_datagram;
	return count > 0 ? count : -ENODATA;
}

bool address_is_local(const struct sockaddr *address)
{
	const struct sockaddr_in *in = (const void *)address;
	const struct sockaddr_in6 *in6 = (const void *)address;

	if (address->sa_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return address->sa_family == AF_UNIX ||
	       (address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr));
}

int address_scope(const struct address_spec *spec, uint32_t *ret_scope)
{
	const char *name = strchr(spec->host, '%');
	uint64_t number = 0;

	if (!spec->is_unix && name) {
		number = if_nametoindex(name + 1);
		if (number == 0 && number_parse(name + 1, 1, INT32_MAX, &number) < 0)
			return -ENODEV;
	}
	*ret_scope = (uint32_t)number;
	return 0;
}

static const char *format_inet(const struct in_addr *address, in_port_t port,
			       char text[ADDRESS_TEXT_MAX])
{
	char host[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, address, host, sizeof(host));
	snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(port));
	return text;
}

static const char *format_inet6(const struct sockaddr_in6 *in6, char text[ADDRESS_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN];
	char scope[sizeof("%4294967295")] = "";

	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		struct in_addr mapped;

		memcpy(&mapped, in6->sin6_addr.s6_addr + 12, sizeof(mapped));
		return format_inet(&mapped, in6->sin6_port, text);
	}
	inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
	if (in6->sin6_scope_id != 0)
		snprintf(scope, sizeof(scope), "%%%u", in6->sin6_scope_id);
	snprintf(text, ADDRESS_TEXT_MAX, "[%s%s]:%u", host, scope, ntohs(in6->sin6_port));
	return text;
}

static const char *format_unix(const struct sockaddr_un *un, size_t length,
			       char text[ADDRESS_TEXT_MAX])
{
	size_t path_length = length - offsetof(struct sockaddr_un, sun_path);

	if (path_length > sizeof(un->sun_path))
		path_length = sizeof(un->sun_path);
	/*
	 * unix(7): an unnamed socket has no path; an abstract name begins with a NUL and does not
	 * end with one.
	 */
	if (path_length > 0 && un->sun_path[0] == '\0')
		snprintf(text, ADDRESS_TEXT_MAX, "unix:@%.*s", (int)path_length - 1,
			 un->sun_path + 1);
	else
		snprintf(text, ADDRESS_TEXT_MAX, "unix:%.*s", (int)path_length, un->sun_path);
	return text;
}

const char *address_format(const struct sockaddr *address, socklen_t length,
			   char text[ADDRESS_TEXT_MAX])
{
	/* Copied, not cast: the compiler may take it for a plain struct sockaddr. */
	struct address copy = {0};

	memcpy(&copy.un, address, length < sizeof(copy.un) ? length : sizeof(copy.un));
	if (copy.any.sa_family == AF_INET && length >= sizeof(copy.in))
		return format_inet(&copy.in.sin_addr, copy.in.sin_port, text);
	if (copy.any.sa_family == AF_INET6 && length >= sizeof(copy.in6))
		return format_inet6(&copy.in6, text);
	if (copy.any.sa_family == AF_UNIX && length >= offsetof(struct sockaddr_un, sun_path))
		return format_unix(&copy.un, length, text);
	snprintf(text, ADDRESS_TEXT_MAX, "unknown (family %d)", copy.any.sa_family);
	return text;
}

int cidr_parse(const char *text, struct cidr *ret_cidr, const char **ret_why)
{
	const char *slash = strchrnul(text, '/');
	char host[INET6_ADDRSTRLEN];
	struct cidr cidr = { .bits = 128 };
	uint8_t masked[16];
	uint64_t bits;
	unsigned first = 0;

	if ((size_t)(slash - text) >= sizeof(host))
		return fail(-EINVAL, ret_why, "not an IPv4 or IPv6 address");
	*(char *)mempcpy(host, text, (size_t)(slash - text)) = '\0';

	if (inet_pton(AF_INET, host, cidr.prefix + 12) == 1) {
		cidr.prefix[10] = cidr.prefix[11] = 0xff;
		first = 96;
	} else if (inet_pton(AF_INET6, host, cidr.prefix) != 1) {
		return fail(-EINVAL, ret_why, "not an IPv4 or IPv6 address");
	}
	if (*slash == '/') {
		if (number_parse(slash + 1, 0, 128 - first, &bits) < 0)
			return fail(-EINVAL, ret_why, first ? "prefix length not in 0-32" :
							      "prefix length not in 0-128");
		cidr.bits = (uint8_t)(first + bits);
	}
	memcpy(masked, cidr.prefix, sizeof(masked));
	cidr_mask(masked, cidr.bits);
	if (memcmp(masked, cidr.prefix, sizeof(masked)) != 0)
		return fail(-EINVAL, ret_why, "bits are set beyond the prefix length");
	*ret_cidr = cidr;
	return 0;
}

const char *cidr_format(const struct cidr *cidr, char text[CIDR_TEXT_MAX])
{
	bool is_ipv4 = cidr->bits >= 96 && cidr_is_ipv4(cidr->prefix);
	char host[INET6_ADDRSTRLEN];

	if (is_ipv4)
		inet_ntop(AF_INET, cidr->prefix + 12, host, sizeof(host));
	else
		inet_ntop(AF_INET6, cidr->prefix, host, sizeof(host));
	snprintf(text, CIDR_TEXT_MAX, "%s/%u", host, is_ipv4 ? cidr->bits - 96u : cidr->bits);
	return text;
}
