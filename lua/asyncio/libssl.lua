--- The C module that stands on OpenSSL, loaded when TLS is first used.
-- @module asyncio.libssl
local check = require "asyncio.check"
local core = require "asyncio.core"

local libssl = {}

local LACKING = "TLS needs the module asyncio.openssl, which %s: install the rock lua-asyncio-ssl; to build "
  .. "it, OpenSSL's headers (Debian's package libssl-dev)"
local FOREIGN = "the module asyncio.openssl is of another release than asyncio.core: build the rock "
  .. "lua-asyncio-ssl anew"

--- The module; an error that says what to install.
function libssl.load()
  local ok, module = pcall(require, "asyncio.openssl")
  if not ok then
    local path = package.searchpath("asyncio.openssl", package.cpath)
    local why = path and ("cannot be loaded (%s)"):format(core.words(module)) or "is not installed"
    check.raise(LACKING:format(why))
  end
  if module.abi ~= core.filter_abi then check.raise(FOREIGN) end
  return module
end

return libssl
