/*
** resolve.c - getaddrinfo and getnameinfo on a crew of threads of our own.
**
** libuv's pool won't do: a job that runs there can neither be cancelled nor left behind, and holds
** up the loop's close and the exit. A numeric host needs no thread.
*/
#include "core/errand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netdb.h>
#include <netinet/in.h>

#include "base/alloc.h"
#include "core/error.h"
#include "core/options.h"
#include "net/address.h"
#include "open.h"

typedef struct Lookup {
  Errand errand; /* first */
  int status;    /* of getaddrinfo / getnameinfo */
  struct addrinfo hints, *result;
  struct sockaddr_storage sa; /* getnameinfo's question */
  socklen_t salen;
  int flags;
  char host[NI_MAXHOST], service[NI_MAXSERV];
  bool has_host, has_service;
} Lookup;

static void forward_lookup(Chore *chore) {
  Lookup *l = asy_container(chore, Lookup, errand.chore);
  l->status = getaddrinfo(l->has_host ? l->host : NULL, l->has_service ? l->service : NULL,
                          &l->hints, &l->result);
}

static void reverse_lookup(Chore *chore) {
  Lookup *l = asy_container(chore, Lookup, errand.chore);
  l->status = getnameinfo((struct sockaddr *)&l->sa, l->salen, l->host, sizeof l->host, l->service,
                          sizeof l->service, l->flags);
}

static void lookup_free(Errand *e) {
  Lookup *l = asy_container(e, Lookup, errand);
  if (l->result) freeaddrinfo(l->result);
  mem_free(l);
}

/* EAI_* as libuv numbers them, so that they have names and texts. */
static int gai_status(int eai) {
  switch (eai) {
  case EAI_AGAIN: return UV_EAI_AGAIN;
  case EAI_BADFLAGS: return UV_EAI_BADFLAGS;
  case EAI_FAIL: return UV_EAI_FAIL;
  case EAI_FAMILY: return UV_EAI_FAMILY;
  case EAI_MEMORY: return UV_EAI_MEMORY;
  case EAI_NONAME: return UV_EAI_NONAME;
  case EAI_SERVICE: return UV_EAI_SERVICE;
  case EAI_SOCKTYPE: return UV_EAI_SOCKTYPE;
#if defined(EAI_ADDRFAMILY)
  case EAI_ADDRFAMILY: return UV_EAI_ADDRFAMILY;
#endif
#if defined(EAI_NODATA) && EAI_NODATA != EAI_NONAME
  case EAI_NODATA: return UV_EAI_NODATA;
#endif
  default: return UV_EAI_FAIL;
  }
}

/* stack: ... ; pushes the list of addresses */
static int push_addresses(lua_State *L, const struct addrinfo *ai) {
  lua_newtable(L);
  for (int n = 0; ai; ai = ai->ai_next) {
    if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6) continue;
    asy_address_push(L, ai->ai_addr, ai->ai_addrlen);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/* stack: [1] what to put in an error */
static int push_result(lua_State *L, Errand *e) {
  const Lookup *l = asy_container(e, Lookup, errand);
  bool forward = e->chore.work == forward_lookup;
  if (l->status) {
    asy_oserror_push(L, gai_status(l->status), forward ? "getaddrinfo" : "getnameinfo", lua_tostring(L, 1));
    return lua_error(L);
  }
  if (forward) return push_addresses(L, l->result);
  lua_pushstring(L, l->host);
  lua_pushstring(L, l->service);
  return 2;
}

static const WaitKind LOOKUP = {.name = "name lookup", .finish = asy_errand_finish, .abort = asy_errand_abort,
                                .giveback = asy_errand_giveback};

static Lookup *new_lookup(lua_State *L, void (*work)(Chore *)) {
  Lookup *l = mem_calloc(1, sizeof *l);
  if (!l) asy_nomemory(L);
  l->errand = (Errand){.chore.work = work, .results = push_result, .free = lookup_free};
  return l;
}

static int run_lookup(lua_State *L, Task *t, Lookup *l) { return asy_errand_run(L, t, &l->errand, CREW_LOOKUPS, &LOOKUP); }

/* The task that asks the loop at 1. */
static Task *lookup_task(lua_State *L) {
  Task *t = asy_current(L);
  if (t->loop != lua_touserdata(L, 1)) asy_error(L, ASY_ERROR, "the task belongs to another event loop");
  return t;
}

/* Copies a name to the lookup; raises for one that can't be a name. */
static bool copy_name(lua_State *L, int idx, char *to, size_t size) {
  size_t n;
  if (lua_isnoneornil(L, idx)) return false;
  if (lua_type(L, idx) != LUA_TSTRING) asy_typeerror(L, idx, idx, "name", "");
  const char *name = lua_tolstring(L, idx, &n);
  asy_argcheck(L, n < size, idx, "name too long");
  asy_argcheck(L, strlen(name) == n, idx, "name with a zero byte");
  memcpy(to, name, n + 1);
  return true;
}

ASY_NORETURN static void bad_port(lua_State *L, int idx) {
  const char *got = luaL_tolstring(L, idx, NULL); /* a number, or a short string that is one */
  asy_argerror(L, idx, lua_pushfstring(L, "port from 0 to 65535 expected, got %s", got));
}

/* A port, or the name of a service. The C library takes a number in a string modulo 65536. */
static bool copy_service(lua_State *L, int idx, char *to, size_t size) {
  char *end;
  if (lua_isnoneornil(L, idx)) return false;
  if (lua_type(L, idx) == LUA_TNUMBER) {
    int isint;
    lua_Integer port = lua_tointegerx(L, idx, &isint);
    if (!isint || port < 0 || port > 65535) bad_port(L, idx);
    snprintf(to, size, "%d", (int)port);
    return true;
  }
  if (lua_type(L, idx) != LUA_TSTRING) asy_typeerror(L, idx, idx, "port or name of a service", "");
  if (!copy_name(L, idx, to, size)) return false;
  long port = strtol(to, &end, 10);
  if (!*end && *to && (port < 0 || port > 65535)) bad_port(L, idx);
  return true;
}

static const OptSpec FORWARD_SPECS[] = {{.key = "family", .kind = OPT_CHOICE, .choices = "inet|inet6|any"},
                                        {.key = "passive", .kind = OPT_BOOLEAN}};
static const Options FORWARD_OPTIONS = {"getaddrinfo", 3, OPT_NAMED, OPT_SPECS(FORWARD_SPECS)};
static const OptSpec REVERSE_SPECS[] = {{.key = "numeric", .kind = OPT_BOOLEAN}};
static const Options REVERSE_OPTIONS = {"getnameinfo", 2, OPT_NAMED, OPT_SPECS(REVERSE_SPECS)};

/* stack: [opts] a table or nil */
static int get_family(lua_State *L, int opts) {
  if (lua_isnil(L, opts)) return AF_UNSPEC;
  lua_getfield(L, opts, "family");
  const char *name = lua_tostring(L, -1);
  int family = !name ? AF_UNSPEC : !strcmp(name, "inet") ? AF_INET : !strcmp(name, "inet6") ? AF_INET6 : AF_UNSPEC;
  lua_pop(L, 1);
  return family;
}

/// The addresses of a host, off the loop.
// Raises GaiError when the name doesn't resolve. Sixteen lookups are under way at once, others wait for their turn.
// @function Loop:getaddrinfo
// @tparam ?string host nil: the loopback addresses, or with `passive` all
// @param[opt] port 0 to 65535, or the name of a service
// @tparam[opt] table opts `family` ("any"; "inet", "inet6"), `passive`
// @treturn {table,...} addresses {host=, port=, family=}
static int loop_getaddrinfo(lua_State *L) {
  char host[NI_MAXHOST], service[NI_MAXSERV];
  asy_checkloop(L, 1);
  lua_settop(L, 4);
  bool has_host = copy_name(L, 2, host, sizeof host);
  bool has_service = copy_service(L, 3, service, sizeof service);
  asy_options_check(L, 4, &FORWARD_OPTIONS);
  int family = get_family(L, 4);
  bool passive = !lua_isnil(L, 4) && asy_opt_bool(L, 4, "passive", false);
  if (!has_host && !has_service) asy_argerror(L, 2, "a host or a port expected");
  lua_settop(L, 4);
  if (has_host) lua_pushvalue(L, 2); else lua_pushvalue(L, 3);
  Task *t = lookup_task(L);
  if (task_spent(t)) return asy_give_way(L, t, loop_getaddrinfo);
  Lookup *l = new_lookup(L, forward_lookup);
  memcpy(l->host, host, sizeof host);
  memcpy(l->service, service, sizeof service);
  l->has_host = has_host;
  l->has_service = has_service;
  l->hints.ai_family = family;
  l->hints.ai_socktype = SOCK_STREAM;
  l->hints.ai_flags = AI_NUMERICHOST | (passive ? AI_PASSIVE : 0);
  forward_lookup(&l->errand.chore);
  if (l->status != EAI_NONAME || !has_host) return asy_errand_results(L, &l->errand);
  l->hints.ai_flags &= ~AI_NUMERICHOST;
  return run_lookup(L, t, l);
}

/// The names of an address, off the loop.
// @function Loop:getnameinfo
// @tparam table addr {host=, port=}
// @tparam[opt] table opts `numeric`: no lookup
// @treturn string host
// @treturn string service
static int loop_getnameinfo(lua_State *L) {
  struct sockaddr_storage sa;
  char text[ASY_ADDRESS_TEXT];
  asy_checkloop(L, 1);
  lua_settop(L, 3);
  socklen_t len = asy_address_check(L, 2, &sa);
  address_text((struct sockaddr *)&sa, len, text);
  asy_options_check(L, 3, &REVERSE_OPTIONS);
  bool numeric = !lua_isnil(L, 3) && asy_opt_bool(L, 3, "numeric", false);
  lua_pushstring(L, text);
  Task *t = lookup_task(L);
  if (task_spent(t)) return asy_give_way(L, t, loop_getnameinfo);
  Lookup *l = new_lookup(L, reverse_lookup);
  l->sa = sa;
  l->salen = len;
  if (!numeric) return run_lookup(L, t, l);
  l->flags = NI_NUMERICHOST | NI_NUMERICSERV;
  reverse_lookup(&l->errand.chore);
  return asy_errand_results(L, &l->errand);
}

static const luaL_Reg methods[] = {
    {"getaddrinfo", loop_getaddrinfo}, {"getnameinfo", loop_getnameinfo}, {NULL, NULL}};

void asy_open_resolve(lua_State *L) {
  asy_options_note(L, &FORWARD_OPTIONS);
  asy_options_note(L, &REVERSE_OPTIONS);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", methods, NULL);
}
