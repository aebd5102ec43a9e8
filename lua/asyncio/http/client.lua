--- The client: functions for one request, and Client, which keeps connections.
-- @module asyncio.http.client
local check = require "asyncio.check"
local connections = require "asyncio.http.connections"
local core = require "asyncio.core"
local errors = require "asyncio.http.errors"
local exchange = require "asyncio.http.exchange"
local plans = require "asyncio.http.plans"
local response = require "asyncio.http.response"
local sockets = require "asyncio.sockets"
local targets = require "asyncio.http.targets"
local timeouts = require "asyncio.timeouts"

local http = {}

local MAX, MAX_PER_HOST = 100, 10      -- connections
local KEEP, KEEP_AS_SAID = 4, 600      -- seconds, unless a server says how long; and then at most

-- Options

local GENERAL = {
  { "headers", "any" }, { "auth", "any" }, { "ssl", "any" }, { "unix", "string" }, { "proxy", "string" },
  { "max_redirects", "integer", 0, 1000 }, { "max_body", "integer", 0 }, { "timeout", "positive" },
  { "connect_timeout", "positive" }, { "total_timeout", "positive" },
}
local METHOD, URL = { { "method", "string" } }, { { "url", "string", required = true } }
local OWN = { { "body", "any" }, { "query", "any" }, { "form", "any" },
  guesses = "data content=body|params search=query|json=encode it, and give the text as 'body'"
    .. "|redirects follow follow_redirects allow_redirects=max_redirects|verify insecure=ssl"
    .. "|cookies=send a header Cookie|read_timeout=timeout" }
local OF_CLIENT = {
  { "base_url", "string" }, { "max_connections", "integer", 1 }, { "max_connections_per_host", "integer", 1 },
  { "keepalive_timeout", "seconds" },
}
local CLIENT_OPTIONS = sockets.options("Client", 1, nil, OF_CLIENT, GENERAL)

local METHODS = { get = "GET", post = "POST", put = "PUT", patch = "PATCH", delete = "DELETE", head = "HEAD" }

--- Name of a function → how its options are checked: behind the URL, and with it.
local OPTIONS, BY_NAME = {}, {}
for _, name in ipairs { "request", "get", "post", "put", "patch", "delete", "head" } do
  local method = METHODS[name] and {} or METHOD
  OPTIONS[name] = sockets.options(name, 2, nil, method, OWN, GENERAL)
  BY_NAME[name] = sockets.options(name, 1, "all", URL, method, OWN, GENERAL)
end

-- Sending

local DOING = {
  pool = "all connections that there may be were in use", connect = "connecting was under way",
  tls = "its TLS handshake was under way", send = "it was being sent",
  headers = "it was sent, and not answered",
}

local function late(plan, progress, seconds)
  return function()
    return core.TimeoutError {
      phase = progress.phase,
      message = ("%s %s: no answer after %.14g s: %s"):format(plan.method, plan.target.href, seconds,
        DOING[progress.phase]),
    }
  end
end

local function attempt(conn, plan) return response.new(exchange.run(conn, plan), conn, plan) end

--- Whether a connection that was used before has died before anything of the answer came.
local function died_idle(conn, err)
  if not conn.used or conn.answered then return false end
  return core.isinstance(err, core.ConnectionError) or core.isinstance(err, errors.ProtocolError)
end

--- One request, on one connection; on another if the first has died of old age.
local function ask(pool, plan, progress)
  local route = plan.route
  local conn = pool and pool:acquire(route, progress) or not pool and connections.open(route, progress)
  while true do
    local ok, answer = core.catch(attempt, conn, plan)
    if ok then return answer end
    progress.phase = exchange.is_sending(conn) and "send" or "headers"
    local err, sender = exchange.cause(conn, answer), conn.sender
    if died_idle(conn, err) and plans.can_repeat(plan) then
      conn = pool:replace(conn, route, progress)
    else
      conn:close(true)
      if sender then sender.task:stop() end
      error(err, 0)
    end
  end
end

--- ... and where its answers lead.
local function follow(pool, plan, progress)
  local history = {}
  while true do
    local answer = ask(pool, plan, progress)
    local following = plans.redirected(plan, answer)
    if not following then
      answer.history = history
      return answer
    end
    history[#history + 1] = answer
    if answer._body.conn then answer:close() end
    following.deadline, plan = plan.deadline, following
  end
end

local function perform(client, plan)
  local seconds, total, progress = plan.timeout, plan.total_timeout, { phase = "pool" }
  if total then
    plan.deadline = core.get_running_loop():time() + total
    seconds = math.min(seconds, total)
  end
  return timeouts._within(seconds, late(plan, progress, seconds), follow, client.pool, plan, progress)
end

--- What the functions and methods do: name is theirs.
local function call(client, name, url, opts)
  local n = 2
  if sockets.by_name(url, opts) then
    opts, n = BY_NAME[name](url), 1
    url = opts.url
  else
    opts = OPTIONS[name](opts)
  end
  if METHODS[name] then opts.method = METHODS[name] end
  local plan = plans.new(client, url, opts, n, name)
  core.get_running_loop()
  local answer = perform(client, plan) -- no tail calls: what cannot wait is named as it was called
  return answer
end

-- Without a client

local nobody = { pool = false }
nobody.plain = plans.plain_headers(nobody)

--- Sends a request, and returns the answer once its head has come.
-- The connection is this request's own, and closed at the end of the body; a `Client` keeps it for the next.
-- Every status is an answer: `Response:raise_for_status` makes an error of it. What raises is that there is
-- no answer: OSError (ConnectionRefusedError, GaiError, ...), SSLError, ProtocolError, and TimeoutError,
-- whose `phase` says what took too long.
--
-- Redirects are followed as browsers do it: 301 and 302 make of POST a GET, 303 of all but HEAD; 307 and 308
-- repeat the request; more than `max_redirects` raise TooManyRedirects. At another origin (scheme, host,
-- port) Authorization, Cookie and the like are left out.
-- What cannot be followed is returned: a body that cannot be sent again, from https to http, an address that
-- isn't one.
--
-- gzip and deflate are asked for, and undone, where `lua-zlib` is installed.
-- @tparam string url `http://` or `https://`; or a table of all, `{url=, method=, ...}`
-- @tparam[opt] table opts `method` ("GET"), `headers` (name → value or list of values, or a list of
-- `{name, value}`), `body` (a string, a list of strings, a function that gives pieces and then nil, a
-- StreamReader, File or Response), `query` (a table of names and values, which the URL gets), `form` (such a
-- table as body), `auth` ({user, password}), `ssl` (a client's context), `unix` (the path of a socket to
-- connect to), `proxy` (`"http://host:port"`; none, whatever the environment says), `max_redirects` (5; 0:
-- none is followed), `max_body` (64 MiB: what `read()` takes, and what may be unpacked), `timeout` (60 s to
-- the answer's head, then for more of the body each time), `connect_timeout` (10 s: lookup, connecting, TLS),
-- `total_timeout` (none: all of it, the body too)
-- @treturn Response
-- @function http.request
-- @usage
-- local server <close> = asyncio.start_server(function(reader, writer)
--   local head = reader:readuntil "\r\n\r\n"
--   local body = reader:readexactly(tonumber(head:match "[Ll]ength: (%d+)"))
--   writer:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body:upper()))
-- end, "127.0.0.1", 0)
-- local url = "http://" .. tostring(server:sockets()[1])
-- print(asyncio.http.request(url, { method = "PUT", body = "hello" }):read()) --> HELLO
-- print(asyncio.http.post { url = url, form = { tea = "green" } }:read()) --> TEA=GREEN
function http.request(url, opts)
  local answer = call(nobody, "request", url, opts)
  return answer
end

--- A GET request, otherwise as `http.request`.
-- @tparam string url or a table of all, `{url=, ...}`
-- @tparam[opt] table opts `headers`, `query`, `auth`, `ssl`, `unix`, `proxy`, `max_redirects`, `max_body`,
-- `timeout`, `connect_timeout`, `total_timeout`, `body`, `form`
-- @treturn Response
-- @function http.get
function http.get(url, opts)
  local answer = call(nobody, "get", url, opts)
  return answer
end

--- A POST request, otherwise as `http.request`.
-- @tparam string url or a table of all, `{url=, ...}`
-- @tparam[opt] table opts `body`, `form`, `headers`, `query`, `auth`, `ssl`, `unix`, `proxy`,
-- `max_redirects`, `max_body`, `timeout`, `connect_timeout`, `total_timeout`
-- @treturn Response
-- @function http.post
function http.post(url, opts)
  local answer = call(nobody, "post", url, opts)
  return answer
end

--- A PUT request, otherwise as `http.request`.
-- @tparam string url or a table of all, `{url=, ...}`
-- @tparam[opt] table opts `body`, `form`, `headers`, `query`, `auth`, `ssl`, `unix`, `proxy`,
-- `max_redirects`, `max_body`, `timeout`, `connect_timeout`, `total_timeout`
-- @treturn Response
-- @function http.put
function http.put(url, opts)
  local answer = call(nobody, "put", url, opts)
  return answer
end

--- A PATCH request, otherwise as `http.request`.
-- @tparam string url or a table of all, `{url=, ...}`
-- @tparam[opt] table opts `body`, `form`, `headers`, `query`, `auth`, `ssl`, `unix`, `proxy`,
-- `max_redirects`, `max_body`, `timeout`, `connect_timeout`, `total_timeout`
-- @treturn Response
-- @function http.patch
function http.patch(url, opts)
  local answer = call(nobody, "patch", url, opts)
  return answer
end

--- A DELETE request, otherwise as `http.request`.
-- @tparam string url or a table of all, `{url=, ...}`
-- @tparam[opt] table opts `headers`, `query`, `auth`, `ssl`, `unix`, `proxy`, `max_redirects`, `max_body`,
-- `timeout`, `connect_timeout`, `total_timeout`, `body`, `form`
-- @treturn Response
-- @function http.delete
function http.delete(url, opts)
  local answer = call(nobody, "delete", url, opts)
  return answer
end

--- A HEAD request, whose answer has no body; otherwise as `http.request`.
-- @tparam string url or a table of all, `{url=, ...}`
-- @tparam[opt] table opts `headers`, `query`, `auth`, `ssl`, `unix`, `proxy`, `max_redirects`, `max_body`,
-- `timeout`, `connect_timeout`, `total_timeout`, `body`, `form`
-- @treturn Response
-- @function http.head
function http.head(url, opts)
  local answer = call(nobody, "head", url, opts)
  return answer
end

-- With one

--- Keeps connections to servers, and uses them again; `asyncio.http.Client` makes it.
-- Any number of tasks may use it at a time, in one event loop. `request`, `get`, `post`, `put`, `patch`,
-- `delete` and `head` are the functions of that name, as methods. A request on a connection that was used
-- before, and has died before anything of the answer came, is sent once more, on a new one: where that does
-- no harm (`GET`, `PUT`, ...; not `POST`), and the body can be sent again (no function, no reader).
--
-- Who finds no free connection waits in line; TimeoutError's `phase` is `"pool"` then. A Response holds its
-- connection until its body is read, or it is closed.
-- @type Client
-- @usage
-- local server <close> = asyncio.start_server(function(reader, writer)
--   while reader:readuntil "\r\n\r\n" do writer:send "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntea" end
-- end, "127.0.0.1", 0)
-- local client <close> = asyncio.http.Client { base_url = "http://" .. tostring(server:sockets()[1]), timeout
-- = 5 } local function fetch(i) return client:get("/pots/" .. i):read() end
-- print(asyncio.gather(function() return fetch(1) end, function() return fetch(2) end)) --> tea  tea
-- client:close()
local Client = { __name = "asyncio.Client" }
Client.__index = Client

local states = setmetatable({}, { __mode = "k" })

--- Sends a request: `http.request` says how.
-- @tparam string url may be relative to `base_url`
-- @tparam[opt] table opts
-- @treturn Response
function Client:request(url, opts)
  check.self(self, Client, "request")
  local answer = call(states[self], "request", url, opts)
  return answer
end

--- A GET request.
-- @tparam string url
-- @tparam[opt] table opts
-- @treturn Response
function Client:get(url, opts)
  check.self(self, Client, "get")
  local answer = call(states[self], "get", url, opts)
  return answer
end

--- A POST request.
-- @tparam string url
-- @tparam[opt] table opts
-- @treturn Response
function Client:post(url, opts)
  check.self(self, Client, "post")
  local answer = call(states[self], "post", url, opts)
  return answer
end

--- A PUT request.
-- @tparam string url
-- @tparam[opt] table opts
-- @treturn Response
function Client:put(url, opts)
  check.self(self, Client, "put")
  local answer = call(states[self], "put", url, opts)
  return answer
end

--- A PATCH request.
-- @tparam string url
-- @tparam[opt] table opts
-- @treturn Response
function Client:patch(url, opts)
  check.self(self, Client, "patch")
  local answer = call(states[self], "patch", url, opts)
  return answer
end

--- A DELETE request.
-- @tparam string url
-- @tparam[opt] table opts
-- @treturn Response
function Client:delete(url, opts)
  check.self(self, Client, "delete")
  local answer = call(states[self], "delete", url, opts)
  return answer
end

--- A HEAD request.
-- @tparam string url
-- @tparam[opt] table opts
-- @treturn Response
function Client:head(url, opts)
  check.self(self, Client, "head")
  local answer = call(states[self], "head", url, opts)
  return answer
end

--- Ends it: idle connections are closed, those in use once their bodies are read. Who waits for one gets
-- ClosedError, and so does every further request. Leaving the block of a `<close>` variable does so.
function Client:close()
  check.self(self, Client, "close")
  states[self].pool:close()
end

function Client:__close() self:close() end

function Client:__tostring()
  local pool = states[self].pool
  return ("asyncio.Client: %s%d idle, %d in use, %d waiting"):format(pool.closed and "closed, " or "",
    pool.idle, pool.open - pool.idle, pool.waiting)
end

--- Makes a client, which keeps connections to servers and uses them again.
-- What `http.request` may be told may be said here for all requests; what a request says itself goes before
-- that. Its own `headers` replace those of that name. With a `base_url`, `auth` and headers like
-- Authorization and Cookie go to its origin only.
-- @tparam[opt] table opts `base_url` (what URLs are relative to), `max_connections` (100),
-- `max_connections_per_host` (10), `keepalive_timeout` (4 s, or 2 s less than the server says; how long an
-- idle connection is kept at most; 0: not at all), `headers`, `auth`, `ssl`, `unix`, `proxy`,
-- `max_redirects`, `max_body`, `timeout`, `connect_timeout`, `total_timeout`: as `http.request`'s
-- @treturn Client
-- @function http.Client
function http.Client(opts)
  opts = CLIENT_OPTIONS(opts)
  plans.check_options(opts, 1, "Client")
  opts.base = opts.base_url and targets.check(opts.base_url, nil, nil, 1, "Client", "'base_url': ")
  local keep = opts.keepalive_timeout
  opts.pool = connections.new_pool(opts.max_connections or MAX, opts.max_connections_per_host or MAX_PER_HOST,
    keep or KEEP, keep or KEEP_AS_SAID)
  if opts.base and opts.base.user and not opts.authorization then
    opts.authorization = plans.check_auth({ opts.base.user, opts.base.password or "" }, 1, "Client")
  end
  opts.plain = plans.plain_headers(opts)
  local client = setmetatable({}, Client)
  states[client] = opts
  return client
end

http.client_class = Client

return http
