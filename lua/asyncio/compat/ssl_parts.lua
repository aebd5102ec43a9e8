--- LuaSec's modules in C, as ours: `ssl.core`, `ssl.context`, `ssl.x509`, `ssl.config`.
-- @module asyncio.compat.ssl_parts
local core = require "asyncio.core"
local libssl = require "asyncio.libssl"

local sec = libssl.load().luasec()
local sockets, class = core.secure_core()

for name, method in pairs(sec.methods) do class.__index[name] = method end

--- A connection without a descriptor; nil and a sentence.
local function create(context)
  local secure, err = sec.create(context)
  if not secure then return nil, err end
  return sockets.secure(secure)
end

return {
  context = sec.context,
  x509 = sec.x509,
  config = sec.config,
  core = {
    SOCKET_INVALID = -1,
    create = create,
    setfd = sockets.setfd,
    compression = sec.functions.compression,
    info = sec.functions.info,
    setmethod = function(name, method) class.__index[name] = method end,
    copyright = function() return "LuaSec's interface, by lua-asyncio" end,
  },
}
