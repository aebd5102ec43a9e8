--- LuaSec's interface over `asyncio.socket`: what modules that were written for LuaSec get from
-- `require "ssl"` where `asyncio.compat.require` has loaded them. It needs the rock `lua-asyncio-ssl`.
-- @module asyncio.compat.ssl
local parts = require "asyncio.compat.ssl_parts"

local config, context, core = parts.config, parts.context, parts.core

local face = {
  _VERSION = "1.2.0", -- the LuaSec whose interface it is
  _COPYRIGHT = core.copyright(),
  config = config,
  loadcertificate = parts.x509.load,
}

-- ALPN: protocols as they are sent

local function pack_protocols(list)
  local packed = {}
  for _, name in ipairs(list) do
    if type(name) ~= "string" then return nil end
    if name == "" then return nil, "invalid ALPN name (empty string)" end
    if #name > 255 then return nil, "invalid ALPN name (length > 255)" end
    packed[#packed + 1] = string.pack("s1", name)
  end
  if #packed == 0 then return nil, "invalid ALPN list (empty)" end
  return table.concat(packed)
end

local function unpack_protocols(wire)
  local list, at = {}, 1
  while at < #wire do list[#list + 1], at = string.unpack("s1", wire, at) end
  return list
end

--- What a server's function says, as it is sent.
local function asker(fn)
  return function(wire)
    local chosen = fn(unpack_protocols(wire))
    if type(chosen) == "string" then chosen = { chosen } end
    return type(chosen) == "table" and pack_protocols(chosen) or nil
  end
end

local function set_protocols(ctx, mode, alpn)
  if mode == "client" then
    if type(alpn) == "string" then alpn = { alpn } end
    if type(alpn) ~= "table" then return nil, "invalid ALPN parameter" end
    local packed, err = pack_protocols(alpn)
    if not packed then return nil, err end
    return context.setalpn(ctx, packed)
  end
  if type(alpn) == "function" then return context.setalpncb(ctx, asker(alpn)) end
  if type(alpn) ~= "table" then return nil, "invalid ALPN parameter" end
  local packed, err = pack_protocols(alpn)
  if not packed then return nil, err end
  return context.setalpncb(ctx, function() return packed end)
end

-- Contexts: each step gives true, or something false and why

local PASSWORDS = { ["nil"] = true, ["function"] = true, string = true }

local function load_pair(ctx, pair)
  local ok, err = true, nil
  if pair.key then
    if pair.password and not PASSWORDS[type(pair.password)] then return nil, "invalid password type" end
    ok, err = context.loadkey(ctx, pair.key, pair.password)
  end
  if ok and pair.certificate then
    ok, err = context.loadcert(ctx, pair.certificate)
    if ok and pair.key and not context.checkkey(ctx) then
      return nil, "private key does not match public key"
    end
  end
  return ok, err
end

local function load_files(ctx, cfg)
  for _, pair in ipairs(cfg.certificates or { cfg }) do
    local ok, err = load_pair(ctx, pair)
    if not ok then return nil, err end
  end
  if cfg.cafile or cfg.capath then return context.locations(ctx, cfg.cafile, cfg.capath) end
  return true
end

local function set_curves(ctx, cfg)
  if cfg.curveslist then return context.setcurveslist(ctx, cfg.curveslist) end
  if cfg.curve then return context.setcurve(ctx, cfg.curve) end
  return true
end

--- A step that there is for one field.
local function step(field, fn)
  return function(ctx, cfg)
    if cfg[field] then return fn(ctx, cfg[field], cfg) end
    return true
  end
end

local function spread(name)
  return function(ctx, given)
    if type(given) == "table" then return context[name](ctx, table.unpack(given)) end
    return context[name](ctx, given)
  end
end

local STEPS = {
  function(ctx, cfg) return context.setmode(ctx, cfg.mode) end,
  load_files,
  step("ciphers", context.setcipher),
  step("ciphersuites", context.setciphersuites),
  step("verify", spread "setverify"),
  step("options", spread "setoptions"),
  step("depth", context.setdepth),
  step("dhparam", function(ctx, fn)
    if type(fn) ~= "function" then return nil, "invalid DH parameter type" end
    context.setdhparam(ctx, fn)
    return true
  end),
  set_curves,
  step("verifyext", function(ctx, given)
    if type(given) == "table" then return ctx:setverifyext(table.unpack(given)) end
    return ctx:setverifyext(given)
  end),
  step("alpn", function(ctx, alpn, cfg) return set_protocols(ctx, cfg.mode, alpn) end),
  step("dane", function(ctx, dane)
    context.setdane(ctx, table.unpack(type(dane) == "table" and dane or {}))
    return true
  end),
}

--- Makes a context, for any number of connections.
-- @tparam table cfg as LuaSec has it: `mode` (`"client"` or `"server"`), `protocol` (`"any"`,
--   `"tlsv1_2"`, …), `key`, `certificate`, `password`, or `certificates`; `cafile`, `capath`, `verify`,
--   `verifyext`, `depth`; `options`, `ciphers`, `ciphersuites`, `curve`, `curveslist`, `dhparam` (its
--   function is called once, here), `alpn`, `dane`
-- @return the context; nil and a sentence
function face.newcontext(cfg)
  local ctx, err = context.create(cfg.protocol)
  if not ctx then return nil, err end
  for _, take in ipairs(STEPS) do
    local ok, why = take(ctx, cfg)
    if not ok then return nil, why end
  end
  return ctx
end

--- Makes a connection of a socket, whose descriptor it takes: the socket has none afterwards.
-- @param sock a connected socket of `asyncio.socket`, or any object with `getfd` and `setfd`
-- @param cfg a context, or a table that `newcontext` makes one of
-- @return the connection, with LuaSec's methods; nil and a sentence
function face.wrap(sock, cfg)
  local ctx, err = cfg, nil
  if type(cfg) == "table" then ctx, err = face.newcontext(cfg) end
  if not ctx and err then return nil, err end
  local connection, why = core.create(ctx)
  if not connection then return nil, why end
  core.setfd(connection, sock:getfd())
  sock:setfd(core.SOCKET_INVALID)
  return connection
end

--- The method `info`: what was agreed on, all of it or one field.
local function info(connection, field)
  local compression, err = core.compression(connection)
  if err then return nil, err end
  if field == "compression" then return compression end
  local text, bits, algorithm_bits, protocol = core.info(connection)
  local facts = { compression = compression, bits = bits, algbits = algorithm_bits }
  if text then
    facts.cipher, facts.protocol, facts.key, facts.authentication, facts.encryption, facts.mac =
      text:match "^(%S+)%s+(%S+)%s+Kx=(%S+)%s+Au=(%S+)%s+Enc=(%S+)%s+Mac=(%S+)"
    facts.export = text:match "%sexport%s*$" ~= nil
  end
  facts.protocol = protocol or facts.protocol
  if field then return facts[field] end
  return next(facts) and facts
end

core.setmethod("info", info)

return face
