--- WebSocket's opening handshake, on both sides (RFC 6455, 4).
-- @module asyncio.http.opening
local check = require "asyncio.check"
local connections = require "asyncio.http.connections"
local core = require "asyncio.core"
local errors = require "asyncio.http.errors"
local parsers = require "asyncio.parsers"
local plans = require "asyncio.http.plans"
local Request = require "asyncio.http.request"
local response = require "asyncio.http.response"
local sockets = require "asyncio.sockets"
local timeouts = require "asyncio.timeouts"
local websocket = require "asyncio.http.websocket"

local http = {}

local VERSION = "13"

local BOTH = {
  { "protocols", "any" }, { "max_message", "integer", 1, 1 << 40 }, { "max_queue", "integer", 1 },
  { "ping_interval", "positive" }, { "ping_timeout", "positive" }, { "close_timeout", "positive" },
}
local GUESSES = "subprotocols protocol=protocols|max_size max_payload=max_message|heartbeat=ping_interval"
  .. "|compression=messages are not compressed"
local URL = { { "url", "string", required = true } }
local CLIENT = {
  { "headers", "any" }, { "auth", "any" }, { "ssl", "any" }, { "unix", "string" }, { "timeout", "positive" },
  { "connect_timeout", "positive" },
  guesses = GUESSES .. "|open_timeout handshake_timeout=timeout"
    .. "|origin=headers, whose field Origin it is|proxy=there is none for WebSockets",
}
local OPTIONS = sockets.options("websocket", 2, nil, BOTH, CLIENT)
local BY_NAME = sockets.options("websocket", 1, "all", URL, BOTH, CLIENT)
local ACCEPTED = sockets.options("websocket", 1, nil, BOTH, {
  { "origins", "any" },
  guesses = GUESSES .. "|origin check_origin=origins",
})

--- The subprotocols that an option lists, each of them once.
local function check_protocols(protocols, n)
  if protocols == nil then return {} end
  check.table(protocols, n, "websocket", "'protocols': list of names")
  local seen = {}
  for key, name in pairs(protocols) do
    if math.type(key) ~= "integer" or type(name) ~= "string" or not parsers.is_token(name) or seen[name] then
      check.error(n, "websocket", "'protocols': list of names expected, each a token that stands there once")
    end
    seen[name] = true
  end
  return protocols
end

--- Whether a name stands in a field that is a list, without case.
local function lists(field, name)
  for member in (field or ""):gmatch "[^,]+" do
    if member:match "^%s*(.-)%s*$":lower() == name then return true end
  end
  return false
end

-- The client

local opener = { pool = true } -- no "Connection: close"
opener.plain = plans.plain_headers(opener)

local OURS = { "upgrade", "connection", "sec-websocket-key", "sec-websocket-version",
  "sec-websocket-protocol", "sec-websocket-extensions", "sec-websocket-accept" }

--- The fields of the request: the program's and ours.
local function fields_of(headers, key, protocols, n)
  local given, list = plans.check_headers(headers, n, "websocket"), {}
  for _, name in ipairs(given and OURS or {}) do
    if given:get(name) then
      local text = "'headers': %s is the handshake's own (see protocols)"
      check.error(n, "websocket", text:format(name))
    end
  end
  for name, value in pairs(given or {}) do list[#list + 1] = { name, value } end
  list[#list + 1] = { "Upgrade", "websocket" }
  list[#list + 1] = { "Sec-WebSocket-Key", key }
  list[#list + 1] = { "Sec-WebSocket-Version", VERSION }
  if protocols[1] then list[#list + 1] = { "Sec-WebSocket-Protocol", table.concat(protocols, ", ") } end
  return list
end

--- What is wrong with an answer that says it is a WebSocket's; nil: nothing
local function wrong_answer(head, key, protocols)
  local headers = head.headers
  if (head.upgrade or ""):lower() ~= "websocket" then return "it is no upgrade to websocket" end
  if headers["sec-websocket-accept"] ~= parsers.websocket_accept(key) then
    return "its Sec-WebSocket-Accept is not the key's"
  end
  if headers["sec-websocket-extensions"] then return "it has extensions that nobody has asked for" end
  local protocol = headers["sec-websocket-protocol"]
  if not protocol then return nil end
  for _, offered in ipairs(protocols) do
    if offered == protocol then return nil end
  end
  return ("the subprotocol %q was not offered"):format(protocol)
end

local function refused(conn, plan, head)
  local answer = response.new(head, conn, plan)
  return errors.WebSocketError {
    message = ("the server refuses the WebSocket: %s: %d %s"):format(plan.shown, head.status, head.reason),
    response = answer, status = nil,
  }
end

local function ask(conn, plan)
  conn.writer:write(conn.wire:request("GET", plan.target.target, plan.target.authority, plan.headers))
  return connections.read_head(conn)
end

--- The connection, whose server has agreed, and the head of its answer.
local function open(plan, progress)
  local conn = connections.open(plan.route, progress)
  progress.phase = "headers"
  local ok, head = core.catch(ask, conn, plan)
  if not ok then
    conn:close(true)
    error(head, 0)
  end
  if head.status ~= 101 then error(refused(conn, plan, head), 0) end
  local wrong = wrong_answer(head, plan.key, plan.protocols)
  if wrong then
    conn:close(true)
    error(errors.WebSocketError { message = ("no WebSocket: %s: %s"):format(plan.shown, wrong) }, 0)
  end
  return conn, head
end

local function late(plan, progress)
  return function()
    return core.TimeoutError {
      phase = progress.phase,
      message = ("no WebSocket after %.14g s: %s"):format(plan.timeout, plan.shown),
    }
  end
end

local HTTP_SCHEME = { ws = "http", wss = "https", http = "http", https = "https" }

--- `ws://host/path` as HTTP has it.
local function http_url(url, n, prefix)
  if type(url) ~= "string" then check.fail(n, "websocket", prefix .. "URL", url) end
  local scheme, rest = url:match "^([%a]+)(://.*)$"
  local as = scheme and HTTP_SCHEME[scheme:lower()]
  if not as then check.error(n, "websocket", ("%sws:// or wss:// expected, got %q"):format(prefix, url)) end
  if url:find("#", 1, true) then
    check.error(n, "websocket", prefix .. "a WebSocket's URL has no fragment")
  end
  return as .. rest
end

--- Opens a WebSocket connection to a server, and returns it once both have shaken hands.
-- Redirects are not followed; a server that refuses makes a WebSocketError, whose `response` is its answer.
-- @tparam string url `ws://` or `wss://`; or a table of all, `{url=, ...}`
-- @tparam[opt] table opts `protocols` (names of subprotocols, the best first; the server chooses one, or
-- none: `protocol`), `max_message` (1 MiB: a longer one ends the connection with 1009), `max_queue` (16
-- messages wait at most, before nothing more is read), `ping_interval` (20 s without a byte, then the peer
-- is pinged; `math.huge`: never) and `ping_timeout` (20 s for its answer, then 1011), `close_timeout` (10 s
-- in which the peer has to agree to the end), `headers` (Origin, say), `auth` ({user, password}), `ssl` (a
-- client's context), `unix` (the path of a socket to connect to), `connect_timeout` (10 s: lookup,
-- connecting, TLS), `timeout` (60 s: all of the handshake)
-- @treturn WebSocket
-- @raise WebSocketError, OSError, SSLError, ProtocolError, TimeoutError
-- @function http.websocket
-- @usage
-- local http = asyncio.http
-- local server <close> = http.serve(function(request)
--   local ws = request:websocket { protocols = { "shout" } }
--   for text in ws:iter() do ws:send(text:upper()) end
-- end, "127.0.0.1", 0)
-- local url = ("ws://127.0.0.1:%d/"):format(server:sockets()[1].port)
-- local ws <close> = http.websocket(url, { protocols = { "shout" } })
-- ws:send "tea"
-- print(ws:receive()) --> TEA  text
-- print(ws.protocol) --> shout
-- ws:close()
-- server:close()
function http.websocket(url, opts)
  local n, prefix = 2, ""
  if sockets.by_name(url, opts) then
    opts, n, prefix = BY_NAME(url), 1, "'url': "
    url = opts.url
  else
    opts = OPTIONS(opts)
  end
  local address = http_url(url, 1, prefix)
  local protocols, key = check_protocols(opts.protocols, n), parsers.websocket_key()
  opts.headers = fields_of(opts.headers, key, protocols, n)
  local plan = plans.new(opener, address, opts, n, "websocket")
  plan.key, plan.protocols, plan.shown = key, protocols, url
  core.get_running_loop()
  local progress = { phase = "connect" }
  local conn, head = timeouts._within(plan.timeout, late(plan, progress), open, plan, progress)
  local reader, writer, rest = conn.reader, conn.writer, conn.wire:rest()
  conn.writer = false -- it is the WebSocket's now
  return (websocket.new(false, reader, writer, opts, head.headers["sec-websocket-protocol"], rest))
end

-- The server

local function refuse(status, text, headers)
  error(errors.WebSocketError { message = text, status = status, body = text .. "\n", headers = headers }, 0)
end

--- The host and port that both sides mean: the port is left out where it is the scheme's own.
local function authority_of(url)
  local parsed = parsers.url(url)
  return parsed and parsed.authority
end

local function origin_is_good(request, origins)
  local origin = request.headers.origin
  if origins == "*" then return true end
  if check.is_callable(origins) then return origins(origin, request) end
  if not origin then return true end -- no browser
  if origins then
    for _, good in ipairs(origins) do
      if good:lower() == origin:lower() then return true end
    end
    return false
  end
  local from = authority_of(origin .. "/")
  return from ~= nil and from == authority_of(origin:match "^%a+://" .. (request.host or "") .. "/")
end

--- Raises what is wrong with the request; the key.
local function check_request(request, origins)
  local headers = request.headers
  if request.method ~= "GET" or request.version ~= "1.1" or request.body then
    refuse(400, "a WebSocket begins with a GET request of HTTP/1.1, without a body")
  end
  if not lists(request.upgrade_to, "websocket") then
    refuse(426, "this is for WebSockets: the request lacks Upgrade: websocket", { Upgrade = "websocket" })
  end
  if headers["sec-websocket-version"] ~= VERSION then
    refuse(426, "WebSocket's version here is 13", { ["Sec-WebSocket-Version"] = VERSION })
  end
  local key = headers["sec-websocket-key"]
  local accept = key and parsers.websocket_accept(key)
  if not accept then refuse(400, "Sec-WebSocket-Key is missing, or not the base64 of 16 bytes") end
  if not origin_is_good(request, origins) then
    refuse(403, "a page from elsewhere may not open this WebSocket")
  end
  return accept
end

--- The first of ours that the client offers.
local function choose(request, protocols)
  local offered = request.headers["sec-websocket-protocol"]
  if not offered then return nil end
  local names = {}
  for name in offered:gmatch "[^,%s]+" do names[name] = true end
  for _, name in ipairs(protocols) do
    if names[name] then return name end
  end
  return nil
end

local function check_origins(origins)
  if origins == nil or origins == "*" or check.is_callable(origins) then return end
  check.table(origins, 1, "websocket", "'origins': list of origins, \"*\" or function")
  for _, origin in ipairs(origins) do
    if type(origin) ~= "string" or not origin:find "^%a[%w+.-]*://[^/]+$" then
      check.error(1, "websocket", "'origins': each is as browsers send it, https://host or https://host:port")
    end
  end
end

--- What `Request:websocket` does.
function http.accept(request, opts)
  local connection = Request.connection_of(request, "websocket")
  opts = ACCEPTED(opts)
  local protocols = check_protocols(opts.protocols, 1)
  check_origins(opts.origins)
  local accept = check_request(request, opts.origins)
  local protocol = choose(request, protocols)
  local reader, writer = request:upgrade("websocket", {
    ["Sec-WebSocket-Accept"] = accept, ["Sec-WebSocket-Protocol"] = protocol,
  })
  local ws = websocket.new(true, reader, writer, opts, protocol)
  connection.socket = ws
  return ws
end

return http
