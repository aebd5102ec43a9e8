rockspec_format = "3.0"
package = "lua-asyncio-ssl"
version = "0.1.0-1"
source = { url = "file://lua-asyncio-0.1.0.tar.gz" }
description = {
  summary = "TLS for lua-asyncio, on OpenSSL 3",
  detailed = [[
The C module that asyncio.ssl stands on: with it, lua-asyncio's streams and servers speak TLS 1.2 and 1.3.
Build it from the same sources as lua-asyncio itself.]],
  license = "MIT",
  labels = { "async", "networking", "tls", "ssl", "openssl" },
}
supported_platforms = { "unix" }
dependencies = { "lua >= 5.4, < 5.6", "lua-asyncio" }
external_dependencies = { OPENSSL = { header = "openssl/ssl.h", library = "ssl" } }
build = {
  type = "builtin",
  modules = {
    ["asyncio.openssl"] = {
      sources = {
        "src/sec/cert.c",
        "src/sec/certclass.c",
        "src/sec/configure.c",
        "src/sec/context.c",
        "src/sec/curve.c",
        "src/sec/hold.c",
        "src/sec/link.c",
        "src/sec/module.c",
        "src/sec/names.c",
        "src/sec/option.c",
        "src/sec/peer.c",
        "src/sec/trust.c",
        "src/sec/wire.c",
        "src/tls/ask.c",
        "src/tls/bio.c",
        "src/tls/box.c",
        "src/tls/certificate.c",
        "src/tls/context.c",
        "src/tls/contextclass.c",
        "src/tls/engine.c",
        "src/tls/facts.c",
        "src/tls/failure.c",
        "src/tls/filter.c",
        "src/tls/info.c",
        "src/tls/load.c",
        "src/tls/module.c",
        "src/tls/session.c",
        "src/tls/sni.c",
        "src/tls/verify.c",
        "src/tls/words.c",
      },
      libraries = { "ssl", "crypto" },
      incdirs = { "src", "$(OPENSSL_INCDIR)" },
      libdirs = { "$(OPENSSL_LIBDIR)" },
    },
  },
}
