/*
** names.c - hosts and services looked up; LuaSocket's table `dns`.
*/
#include "face/names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "face/io.h"

#define ROOM 1024           /* for a host's entry, at first */
#define MOST ((size_t)1 << 20)

static void free_errand(Errand *e) { names_free(asy_container(e, Names, errand)); }

void names_free(Names *n) {
  if (n->list) freeaddrinfo(n->list);
  mem_free(n->names);
  mem_free(n->room);
  mem_free(n->owner);
  mem_free(n);
}

/* Work: in a thread, or at once */

static void find_addresses(Names *n) { n->status = getaddrinfo(n->host, n->service, &n->hints, &n->list); }

static void find_names(Names *n) {
  size_t count = 0;
  find_addresses(n);
  if (n->status || !n->list) return;
  for (struct addrinfo *a = n->list; a; a = a->ai_next) count++;
  n->names = mem_calloc(count, sizeof *n->names);
  if (!n->names) n->status = EAI_MEMORY;
  if (!n->names) return;
  count = 0;
  for (struct addrinfo *a = n->list; a; a = a->ai_next, count++)
    getnameinfo(a->ai_addr, a->ai_addrlen, n->names[count], n->host ? NI_MAXHOST : 0, n->last_service,
                n->service ? NI_MAXSERV : 0, 0);
}

#if defined(__GLIBC__)

/* One attempt, in so much room; ERANGE: that was too small. */
static int find_entry_in(Names *n, size_t size) {
  struct in_addr addr;
  int h_err = 0, err;
  if (inet_aton(n->host, &addr))
    err = gethostbyaddr_r(&addr, sizeof addr, AF_INET, &n->entry, n->room, size, &n->found, &h_err);
  else
    err = gethostbyname_r(n->host, &n->entry, n->room, size, &n->found, &h_err);
  n->status = n->found ? 0 : h_err ? h_err : HOST_NOT_FOUND;
  return err;
}

static void find_entry(Names *n) {
  for (size_t size = ROOM; size <= MOST; size *= 2) {
    mem_free(n->room);
    n->room = mem_alloc(size);
    n->status = NO_RECOVERY;
    if (!n->room || find_entry_in(n, size) != ERANGE) return;
  }
}

#else /* their functions keep what they find for each thread, or lock */

static void find_entry(Names *n) {
  struct in_addr addr;
  n->found = inet_aton(n->host, &addr) ? gethostbyaddr(&addr, sizeof addr, AF_INET) : gethostbyname(n->host);
  n->status = n->found ? 0 : h_errno ? h_errno : HOST_NOT_FOUND;
}

#endif

static void work(Chore *chore) {
  Names *n = asy_container(chore, Names, errand.chore);
  if (n->question == NAMES_ADDRESSES) find_addresses(n);
  else if (n->question == NAMES_OF) find_names(n);
  else find_entry(n);
}

/* Results */

static const char *host_words(int h_err) { return h_err == HOST_NOT_FOUND ? "host not found" : hstrerror(h_err); }

static void push_list(lua_State *L, char **list, bool addresses) {
  lua_newtable(L);
  for (int i = 0; list && list[i]; i++) {
    struct in_addr addr;
    char text[INET_ADDRSTRLEN];
    if (addresses) {
      memcpy(&addr, list[i], sizeof addr);
      lua_pushstring(L, inet_ntop(AF_INET, &addr, text, sizeof text));
    } else
      lua_pushstring(L, list[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

/* toip gives the first address, tohostname the name; [1] is true for the former */
static int push_entry(lua_State *L, const Names *n, bool first_ip) {
  if (n->status) {
    lua_pushnil(L);
    lua_pushstring(L, host_words(n->status));
    return 2;
  }
  lua_createtable(L, 0, 3);
  lua_pushstring(L, n->found->h_name);
  lua_setfield(L, -2, "name");
  push_list(L, n->found->h_aliases, false);
  lua_setfield(L, -2, "alias");
  push_list(L, n->found->h_addr_list, true);
  if (first_ip)
    lua_rawgeti(L, -1, 1);
  else
    lua_pushstring(L, n->found->h_name);
  lua_insert(L, -3);
  lua_setfield(L, -2, "ip");
  return 2;
}

static const char *family_name(int family) {
  return family == AF_INET ? "inet" : family == AF_INET6 ? "inet6" : family == AF_UNSPEC ? "unspec" : "unknown";
}

static int push_addresses(lua_State *L, const Names *n) {
  int i = 0;
  lua_newtable(L);
  for (const struct addrinfo *a = n->list; a; a = a->ai_next) {
    char host[NI_MAXHOST];
    int status = getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST);
    if (status) {
      lua_pushnil(L);
      lua_pushstring(L, face_gai_words(status));
      return 2;
    }
    lua_createtable(L, 0, 2);
    lua_pushstring(L, family_name(a->ai_family));
    lua_setfield(L, -2, "family");
    lua_pushstring(L, host);
    lua_setfield(L, -2, "addr");
    lua_rawseti(L, -2, ++i);
  }
  return 1;
}

static int push_names(lua_State *L, const Names *n) {
  int i = 0;
  lua_newtable(L);
  for (const struct addrinfo *a = n->list; a; a = a->ai_next, i++) {
    if (!n->host) continue;
    lua_pushstring(L, n->names[i]);
    lua_rawseti(L, -2, i + 1);
  }
  if (!n->service) return 1;
  lua_pushstring(L, n->last_service);
  return 2;
}

/* stack: [1] whether an address is wanted first */
static int results(lua_State *L, Errand *e) {
  const Names *n = asy_container(e, Names, errand);
  if (n->question == NAMES_HOST) return push_entry(L, n, n->hints.ai_flags != 0);
  if (n->status) {
    lua_pushnil(L);
    lua_pushstring(L, face_gai_words(n->status));
    return 2;
  }
  return n->question == NAMES_OF ? push_names(L, n) : push_addresses(L, n);
}

/* Asking */

Names *asy_names_new(lua_State *L, Question question, const char *host, const char *service) {
  size_t nhost = host ? strlen(host) + 1 : 0, nservice = service ? strlen(service) + 1 : 0;
  Names *n = mem_calloc(1, sizeof *n + nhost + nservice);
  if (!n) asy_nomemory(L);
  char *text = (char *)(n + 1);
  n->errand = (Errand){.chore.work = work, .results = results, .free = free_errand};
  n->question = question;
  n->hints.ai_socktype = SOCK_STREAM;
  if (host) n->host = memcpy(text, host, nhost);
  if (service) n->service = memcpy(text + nhost, service, nservice);
  return n;
}

/* A numeric host needs no thread. */
static bool ask_briefly(Names *n) {
  if (n->question != NAMES_ADDRESSES) return false;
  n->hints.ai_flags |= AI_NUMERICHOST;
  find_addresses(n);
  n->hints.ai_flags &= ~AI_NUMERICHOST;
  return !n->host || n->status != EAI_NONAME;
}

bool asy_names_ask(lua_State *L, Names *n, Task **t) {
  if (ask_briefly(n)) return true;
  if (!ASY_RUNTIME(L)->running) {
    n->errand.chore.work(&n->errand.chore);
    return true;
  }
  *t = asy_current_or_null(L);
  if (*t) return false;
  names_free(n);
  asy_current(L); /* raises */
  return true;
}

static const WaitKind LOOKUP = {.name = "name lookup", .finish = asy_errand_finish, .abort = asy_errand_abort,
                                .giveback = asy_errand_giveback};

/* stack: host, ... */
static int ask(lua_State *L, Names *n) {
  Task *t;
  lua_settop(L, 1);
  if (asy_names_ask(L, n, &t)) return asy_errand_results(L, &n->errand);
  return asy_errand_run(L, t, &n->errand, CREW_LOOKUPS, &LOOKUP);
}

static int dns_toip(lua_State *L) {
  Names *n = asy_names_new(L, NAMES_HOST, luaL_checkstring(L, 1), NULL);
  n->hints.ai_flags = 1; /* the address first */
  return ask(L, n);
}

static int dns_tohostname(lua_State *L) { return ask(L, asy_names_new(L, NAMES_HOST, luaL_checkstring(L, 1), NULL)); }

static int dns_getaddrinfo(lua_State *L) {
  return ask(L, asy_names_new(L, NAMES_ADDRESSES, luaL_checkstring(L, 1), NULL));
}

static int dns_getnameinfo(lua_State *L) {
  const char *host = luaL_optstring(L, 1, NULL), *service = luaL_optstring(L, 2, NULL);
  if (!host && !service) luaL_error(L, "host and serv cannot be both nil");
  Names *n = asy_names_new(L, NAMES_OF, host, service);
  if (!host) {
    lua_pushvalue(L, 2);
    lua_replace(L, 1);
  }
  return ask(L, n);
}

static int dns_gethostname(lua_State *L) {
  char name[257];
  name[256] = 0;
  if (gethostname(name, 256) < 0) return asy_face_fail(L, errno);
  lua_pushstring(L, name);
  return 1;
}

static const luaL_Reg functions[] = {{"toip", dns_toip},
                                     {"tohostname", dns_tohostname},
                                     {"getaddrinfo", dns_getaddrinfo},
                                     {"getnameinfo", dns_getnameinfo},
                                     {"gethostname", dns_gethostname},
                                     {NULL, NULL}};

void asy_names_dns(lua_State *L) {
  lua_newtable(L);
  asy_setfuncs(L, functions);
}
