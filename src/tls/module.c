/*
** module.c - the C module asyncio.openssl: what asyncio.ssl is made of.
**
** It needs nothing of asyncio.core, which reaches its filters by net/filter.h.
*/
#include "net/filter.h"

#include <dlfcn.h>
#include <openssl/ssl.h>

#include "open.h"
#include "tls/certificate.h"
#include "tls/contextclass.h"

ASY_EXPORT int luaopen_asyncio_openssl(lua_State *L);

/* Connections may be freed after the state that has loaded this has closed. */
static void pin(const void *address) {
#if defined(RTLD_NODELETE)
  Dl_info info;
  if (dladdr(address, &info) && info.dli_fname) dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE | RTLD_NOLOAD);
#else
  (void)address;
#endif
}

static const char here = 0;

/* OpenSSL must not tidy up when the process exits: other threads may use it still. */
int luaopen_asyncio_openssl(lua_State *L) {
  if (!OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL)) return luaL_error(L, "OpenSSL can't be used");
  pin(&here);
  asy_certificate_open(L);
  lua_newtable(L);
  asy_contextclass_open(L);
  asy_open_sec(L);
  lua_pushinteger(L, FILTER_ABI);
  lua_setfield(L, -2, "abi");
  lua_pushstring(L, OpenSSL_version(OPENSSL_VERSION));
  lua_setfield(L, -2, "version");
  return 1;
}
