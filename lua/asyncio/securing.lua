--- TLS on connections and servers: which context, for which name, for how long. Loaded when it is first used.
-- @module asyncio.securing
local check = require "asyncio.check"
local core = require "asyncio.core"
local sockets = require "asyncio.sockets"
local timeouts = require "asyncio.timeouts"

local securing = {}

local HANDSHAKE_TIMEOUT = 15 -- seconds
local LONGEST_NAME = 255     -- bytes that the client's hello has for it

local START_TLS_OPTIONS = check.options {
  "start_tls", 2, { "server_side", "boolean" }, { "server_hostname", "string" },
  { "ssl_handshake_timeout", "positive" },
}

local MAKERS = {
  client = "a client's context expected (ssl.create_default_context makes one)",
  server = "a server's context expected (ssl.create_server_context makes one)",
}

local default -- the context of `ssl = true`

local function default_context()
  default = default or require "asyncio.ssl".create_default_context()
  return default
end

local function is_context(value)
  return type(value) == "userdata" and core.kind_of(value) == "asyncio.SSLContext"
end

--- A context of that purpose, as it is.
function securing.check_context(context, purpose, n, name, prefix)
  if not is_context(context) then
    check.error(n, name, ("%s%s, got %s"):format(prefix, MAKERS[purpose], core.kind_of(context)))
  end
  local other = context:_purpose()
  if other ~= purpose then
    check.error(n, name, ("%s%s, got a %s's"):format(prefix, MAKERS[purpose], other))
  end
  return context
end

--- The name of a peer, as it is sent and looked for in the certificate.
function securing.check_name(text, n, name, prefix)
  local what
  local wanted = text:gsub("%.$", "")
  if wanted:find "^[%x:.]*:[%x:.]*%%" then wanted = wanted:gsub("%%.*", "") end -- an address of a link
  if wanted == "" then
    what = "an empty name"
  elseif wanted:find("\0", 1, true) then
    what = "a name with a zero byte"
  elseif wanted:find "[\x80-\xff]" then
    what = "a name with bytes above 127: write it as certificates do (IDNA), beginning with xn--"
  elseif wanted:find "[%c ]" then
    what = "a name with a space or a control character"
  elseif wanted:find "[%%*]" then
    what = ("no host's name has a %q"):format(wanted:match "[%%*]")
  elseif wanted:find "^%." or wanted:find "%.$" or wanted:find("..", 1, true) then
    what = "a name with an empty part"
  elseif #wanted > LONGEST_NAME then
    what = ("a name has %d bytes at most, got %d"):format(LONGEST_NAME, #wanted)
  end
  if what then check.error(n, name, prefix .. what) end
  return wanted
end

--- Whether there is to be TLS; its options mean nothing without.
local function is_wanted(opts, n, name, keys)
  if opts.ssl then return true end
  opts.ssl = nil
  for _, key in ipairs(keys) do
    if opts[key] ~= nil then check.error(n, name, ("'%s' does not go without 'ssl'"):format(key)) end
  end
end

--- The name to check: that of the options, or the host's.
local function name_of(context, opts, n, name, host, host_n, host_prefix)
  local given = opts.server_hostname
  if given then return securing.check_name(given, n, name, "'server_hostname': ") end
  if host then return securing.check_name(host, host_n, name, host_prefix) end
  if context:_checks_hostname() then
    check.error(n, name, "'server_hostname' expected: the name that the peer's certificate must be for")
  end
end

--- What a client's handshake needs, nil where there is to be none; its options are taken out.
-- to: what errors call the peer; key: what its sessions are kept by; host: of that argument
function securing.client_order(opts, n, name, to, key, host, host_n, host_prefix)
  if not is_wanted(opts, n, name, { "server_hostname", "ssl_handshake_timeout" }) then return nil end
  local context = opts.ssl == true and default_context() or
    securing.check_context(opts.ssl, "client", n, name, "'ssl': true or ")
  local order = {
    context = context, to = to, key = key, name = name_of(context, opts, n, name, host, host_n, host_prefix),
    seconds = opts.ssl_handshake_timeout or HANDSHAKE_TIMEOUT,
  }
  opts.ssl, opts.server_hostname, opts.ssl_handshake_timeout = nil, nil, nil
  return order
end

local function shake(writer, order)
  timeouts._within(order.seconds, function()
    return core.TimeoutError {
      phase = "handshake",
      message = ("no TLS with %s after %.14g s: its handshake was under way"):format(order.to, order.seconds),
    }
  end, core.start_filter, writer, order.context, order.server_side or false, order.name, order.key,
    order.step)
end

--- The handshake of a connection that is new: nobody else has it yet.
function securing.secure(writer, order)
  local ok, err = core.catch(shake, writer, order)
  if ok then return end
  local there, closing = pcall(writer.is_closing, writer) -- it is, unless the handshake never began
  if there and not closing then writer:abort() end
  error(err, 0)
end

--- Who asks for certificates has somebody who vouches for them; otherwise no client would ever be let in.
local function check_authorities(context, n, name, prefix)
  local mode = context:_verify_mode()
  if mode == "none" or context:_has_authorities() then return end
  check.error(n, name, ("%sa context with authorities expected ('cafile', 'capath' or 'cadata'), since its "
    .. "'verify_mode' is \"%s\": without them no client's certificate is verified"):format(prefix, mode))
end

local function check_server_context(context, n, name, prefix)
  securing.check_context(context, "server", n, name, prefix)
  if not context:_has_certificate() and not context:_has_sni() then
    check.error(n, name, prefix .. "a context with a certificate expected, or with 'sni': it has neither")
  end
  check_authorities(context, n, name, prefix)
  local sni = context:_sni()
  for key, other in pairs(type(sni) == "table" and sni or {}) do
    check_authorities(other, n, name, ("%s'sni': %s: "):format(prefix, key))
  end
  context:_use()
end

--- The options of a server, the context fixed.
function securing.check_server(opts, n, name)
  if not is_wanted(opts, n, name, { "ssl_handshake_timeout", "max_handshakes" }) then return end
  check_server_context(opts.ssl, n, name, "'ssl': ")
end

function securing.set_ssl_context(server, context)
  check_server_context(context, 1, "set_ssl_context", "")
  server:_set_filter(context)
end

function securing.start_tls(writer, context, opts)
  opts = START_TLS_OPTIONS(opts)
  local server_side, peer = opts.server_side, writer:get_extra_info "peername"
  local order = { to = peer and tostring(peer) or "the peer", server_side = server_side,
    seconds = opts.ssl_handshake_timeout or HANDSHAKE_TIMEOUT, step = "start_tls" }
  if server_side then
    if opts.server_hostname then
      check.error(2, "start_tls", "'server_hostname' does not go with 'server_side': clients have no name")
    end
    check_server_context(context, 1, "start_tls", "")
    order.context = context
  elseif is_context(context) and context:_purpose() == "server" then
    check.error(1, "start_tls",
      "a client's context expected, got a server's: that goes with server_side = true")
  else
    local host = sockets.hosts[writer]
    order.context = context == true and default_context() or
      securing.check_context(context, "client", 1, "start_tls", "true or ")
    order.name = name_of(order.context, opts, 2, "start_tls", host, 2, "'server_hostname' (the host): ")
    order.key = host and peer and peer.port and ("%s:%d"):format(host, peer.port)
  end
  shake(writer, order)
end

return securing
