--- Connections to servers: how one is opened, and the pool in which a client keeps them.
--
-- A pool counts places: of a connection, or of one that is being opened. A place is of one host (a `key`:
-- also the proxy, the TLS context, the unix socket), and there are so many for each host, and for all. Who
-- finds none waits, and whoever has waited longest is served first of those that can be: by a connection of
-- their host, or a place; in their name an idle connection of another host is closed. What is handed over is
-- theirs before they run, so that nobody overtakes.
--
-- A connection that is lent is held by whoever has it, and not by the pool: forgotten, it is garbage, and its
-- finaliser frees the place.
-- @module asyncio.http.connections
local check = require "asyncio.check"
local core = require "asyncio.core"
local errors = require "asyncio.http.errors"
local parsers = require "asyncio.parsers"
local timeouts = require "asyncio.timeouts"
require "asyncio.connecting" -- later there may be no descriptors for that, or another root

local connections = {}

local BLOCK = 65536      -- bytes that are read at a time
local MOST_PRELUDES = 64 -- answers before the answer (1xx)
local LEASH = 1          -- seconds of waiting in vain before forgotten connections are looked for ...
local LARGE_HEAP = 51200 -- ... by a whole collection, in heaps of so many KiB at most

-- One

local Connection = { __name = "asyncio.http.Connection" }
Connection.__index = Connection

local function new_connection(reader, writer)
  writer:_make_part()
  return setmetatable({
    reader = reader, writer = writer, wire = parsers.http { role = "client" },
    used = false,     -- it has carried a request before
    answered = false, -- a byte of the answer has come
    sender = false, unsent = false, keep = false, expires = 0,
    pool = false, host = false, epoch = 0, lent = false,
  }, Connection)
end

--- Parses what has come, and what comes, up to an event; nil at an end between messages. `from`: an event
-- that is there already.
local function next_event(conn, into)
  local wire, reader = conn.wire, conn.reader
  local event, a, b, _, partial = wire:next(into)
  while event == nil do
    local bytes = reader:read(BLOCK)
    if bytes then
      conn.answered = true
      event, a, b, _, partial = wire:feed(bytes, into)
    else
      event, a, b, _, partial = wire:feed_eof(into)
    end
  end
  return event, a, b, partial
end

local function broken(what) return errors.ProtocolError("the server's answer is not HTTP/1.1: " .. what) end

--- It has ended too early. The place tells which of many it was, and that it was a port of TLS, say.
local function cut(conn, how, partial)
  local peer = conn.writer:get_extra_info "peername"
  local place = peer and (" (%s)"):format(tostring(peer)) or ""
  error(errors.ProtocolError {
    message = ("the server has closed the connection: %s%s"):format(how, place), partial = partial,
  }, 0)
end

--- The head of the answer. until_continue: nil, too, when the server wants the body
function connections.read_head(conn, until_continue)
  for _ = 0, MOST_PRELUDES do
    local head = {}
    local event, _, what, partial = next_event(conn, head)
    if event == "response" then return head end
    if event == "informational" then
      if until_continue and head.status == 100 then return nil end
    elseif event == "error" and not partial then
      error(broken(what), 0)
    else
      cut(conn, conn.answered and "its answer was cut" or "there was no answer", "")
    end
  end
  error(broken "too many answers of the kind 1xx", 0)
end

--- The next piece of the body; nil and the trailers at its end.
function connections.read_piece(conn)
  local event, a, what, partial = next_event(conn)
  if event == "data" then return a end
  if event == "end" then return nil, a end
  if event == "error" and not partial then error(broken(what), 0) end
  cut(conn, "the body was cut")
end

--- Whether it can be asked again: nothing has come since, and it hasn't been idle for too long.
local function is_good(conn, now)
  return now < conn.expires and conn.reader:_is_quiet() and conn.wire:pending() == 0
end

--- What it was lent for is over, well or not; its place is free. abruptly: what is unsent is dropped
function Connection:close(abruptly)
  if not self.writer then return end
  local writer, pool = self.writer, self.pool
  self.writer = false
  if self.sender then self.sender.task:cancel() end
  if abruptly then writer:abort() else writer:close() end
  if pool then pool:_free(self.host, self.epoch) end
end

function Connection:__gc()
  local writer, pool = self.writer, self.pool
  if not writer then return end
  self.writer = false
  pcall(writer.abort, writer)
  if pool and self.lent then pool:_note_lost(self.host, self.epoch) end
end

-- Opening

local function dial(route)
  if route.unix then return require "asyncio.connecting".open_unix_connection(route.unix) end
  local to = route.proxy or route.target
  return require "asyncio.connecting".open_connection(to.host, to.port)
end

--- Has the proxy connect to the server.
local function tunnel(conn, route)
  local target, proxy = route.target, route.proxy
  local place = ("%s:%d"):format(target.ipv6 and "[" .. target.host .. "]" or target.host, target.port)
  conn.writer:write(conn.wire:request("CONNECT", place, place, route.proxy_headers))
  local head = connections.read_head(conn)
  if head.status // 100 ~= 2 then
    error(errors.HTTPStatusError {
      message = ("the proxy %s refuses CONNECT %s: %d %s"):format(proxy.authority, place, head.status,
        head.reason),
      status = head.status,
    }, 0)
  end
  if conn.wire:rest() ~= "" then error(broken "the proxy has sent more than its answer to CONNECT", 0) end
  conn.wire, conn.answered = parsers.http { role = "client" }, false
end

local function prepare(conn, route, progress)
  local secure = route.target.scheme == "https"
  if route.proxy and secure then tunnel(conn, route) end
  if not secure then return end
  progress.phase = "tls"
  conn.writer:start_tls(route.ssl, {
    server_hostname = route.target.host, ssl_handshake_timeout = route.connect_timeout,
  })
end

local function connect(route, progress)
  progress.phase = "connect"
  local conn = new_connection(dial(route))
  local ok, err = core.catch(prepare, conn, route, progress)
  if ok then return conn end
  conn:close(true)
  error(err, 0)
end

local DOING = { connect = "connecting was under way", tls = "its TLS handshake was under way" }

--- Opens one, in so much time. progress.phase: what is under way
function connections.open(route, progress)
  return timeouts._within(route.connect_timeout, function()
    return core.TimeoutError {
      phase = progress.phase, message = ("no connection to %s after %.14g s: %s"):format(
        route.unix or route.target.authority, route.connect_timeout, DOING[progress.phase]),
    }
  end, connect, route, progress)
end

-- The pool

local Pool = { __name = "asyncio.http.Pool" }
Pool.__index = Pool

--- keepalive: seconds for which an idle connection is kept; longest: ... where its server says how long
function connections.new_pool(max, max_per_host, keepalive, longest)
  return setmetatable({
    max = max, max_per_host = max_per_host, keepalive = keepalive, longest = longest,
    hosts = {}, -- by their keys: those that have places, or somebody waits for
    open = 0, idle = 0, waiting = 0, lost = 0, tickets = 0, served = 0, epoch = 0,
    loop = false, timer = false, timer_at = 0, watch = false, closed = false,
  }, Pool)
end

local function raise_closed() error(core.ClosedError "the client is closed", 0) end

--- It is used in the loop that runs now. What it had in one that is closed is nobody's.
function Pool:_bind()
  local loop = core.get_running_loop()
  if self.loop == loop then return end
  if self.loop and not self.loop:is_closed() then check.raise "the client is in use in another event loop" end
  self.loop, self.hosts, self.epoch = loop, {}, self.epoch + 1
  self.open, self.idle, self.waiting, self.lost, self.timer, self.watch = 0, 0, 0, 0, false, false
end

function Pool:_host(key)
  local host = self.hosts[key]
  if not host then
    host = { key = key, open = 0, lost = 0, idle = {}, queue = {}, first = 1, last = 0 }
    self.hosts[key] = host
  end
  return host
end

local function forget_if_unused(pool, host)
  local unused = host.open == 0 and host.first > host.last
  if unused and pool.hosts[host.key] == host then pool.hosts[host.key] = nil end
end

local function close_idle(pool, host, i)
  local conn = table.remove(host.idle, i)
  pool.idle = pool.idle - 1
  conn:close()
end

--- The idle connection that would be the first to go.
local function oldest_idle(pool)
  local oldest
  for _, host in pairs(pool.hosts) do
    local conn = host.idle[1]
    if conn and (not oldest or conn.expires < oldest.idle[1].expires) then oldest = host end
  end
  return oldest
end

--- A place for one more, if there is one: an idle connection of another host may have to go for it.
local function take_place(pool, host)
  if host.open >= pool.max_per_host or pool.open >= pool.max and pool.idle == 0 then return false end
  host.open, pool.open = host.open + 1, pool.open + 1
  if pool.open > pool.max then close_idle(pool, oldest_idle(pool), 1) end
  return true
end

-- Who waits

local function first_in_line(host)
  while host.first <= host.last do
    local waiter = host.queue[host.first]
    if not waiter.gone then return waiter end
    host.queue[host.first] = nil
    host.first = host.first + 1
  end
end

local function can_be_served(pool, host)
  return host.idle[1] or host.open < pool.max_per_host and (pool.open < pool.max or pool.idle > 0)
end

--- Of those that can be served, the one that has waited longest.
local function next_to_serve(pool)
  local best
  for _, host in pairs(pool.hosts) do
    local waiter = first_in_line(host)
    local earlier = waiter and (not best or waiter.ticket < best.ticket)
    if earlier and can_be_served(pool, host) then best = waiter end
  end
  return best
end

--- Hands over what there is to those who wait.
local function serve(pool)
  while pool.waiting > 0 do
    local waiter = next_to_serve(pool)
    if not waiter then return end
    local host = waiter.host
    waiter.gone, pool.waiting, pool.served = true, pool.waiting - 1, pool.served + 1
    waiter.conn = table.remove(host.idle) or false
    if waiter.conn then pool.idle = pool.idle - 1 else waiter.place = take_place(pool, host) end
    if not core.give_answer(waiter.answer) then waiter.give_back(waiter) end
  end
end

--- Forgotten connections have left places behind.
local function settle(pool)
  if pool.lost == 0 then return end
  pool.lost = 0
  for _, host in pairs(pool.hosts) do
    pool.open, host.open, host.lost = pool.open - host.lost, host.open - host.lost, 0
    forget_if_unused(pool, host)
  end
  serve(pool)
end

--- From a finaliser: nothing is allocated before it is noted.
function Pool:_note_lost(host, epoch)
  if epoch ~= self.epoch or self.loop:is_closed() then return end
  host.lost, self.lost = host.lost + 1, self.lost + 1
  if self.waiting > 0 then pcall(self.loop.call_soon, self.loop, settle, self) end
end

function Pool:_free(host, epoch)
  if epoch ~= self.epoch then return end
  host.open, self.open = host.open - 1, self.open - 1
  forget_if_unused(self, host)
  if self.waiting > 0 then serve(self) end
end

local start_to_watch

--- While they are served all is well. Once in vain is enough.
local function look(pool, served)
  pool.watch = false
  if pool.waiting == 0 then return end
  if served ~= pool.served then return start_to_watch(pool) end
  if collectgarbage "count" < LARGE_HEAP then collectgarbage() else collectgarbage "step" end
  settle(pool)
end

--- Somebody waits: an answer that holds a connection may have been forgotten.
function start_to_watch(pool)
  if not pool.watch then pool.watch = pool.loop:call_later(LEASH, look, pool, pool.served) end
end

--- What a waiter was given, and won't use: once, though both who serves and who was cancelled see that.
local function give_back(waiter)
  local conn, place = waiter.conn, waiter.place
  waiter.conn, waiter.place = false, false
  if conn then waiter.pool:release(conn) elseif place then waiter.pool:_free(waiter.host, waiter.epoch) end
end

--- A connection, or true: a place.
local function wait(pool, host)
  pool.tickets = pool.tickets + 1
  local waiter = {
    answer = core.new_answer(), ticket = pool.tickets, host = host, pool = pool, epoch = pool.epoch,
    conn = false, place = false, gone = false, give_back = give_back,
  }
  host.last = host.last + 1
  host.queue[host.last] = waiter
  pool.waiting = pool.waiting + 1
  local ok, err = core.catch(function()
    start_to_watch(pool)
    core.await_answer(waiter.answer)
  end)
  if ok then
    if not waiter.conn and not waiter.place then raise_closed() end
    return waiter.conn or true
  end
  if waiter.gone then
    give_back(waiter)
  else
    waiter.gone, pool.waiting = true, pool.waiting - 1
    first_in_line(host)
    forget_if_unused(pool, host)
  end
  error(err, 0)
end

-- Lending

--- Opens one; the place is there.
function Pool:open_in_place(host, route, progress)
  local epoch = self.epoch
  local ok, conn = core.catch(connections.open, route, progress)
  if not ok then
    self:_free(host, epoch)
    error(conn, 0)
  end
  conn.pool, conn.host, conn.epoch, conn.lent = self, host, epoch, true
  if not self.closed then return conn end
  conn:close()
  raise_closed()
end

--- One that is lent again, unless it is good no more; its place stays.
local function reuse(pool, host, conn)
  if is_good(conn, pool.loop:time()) then
    conn.used, conn.answered, conn.lent = true, false, true
    return conn
  end
  conn.pool = false
  conn:close()
  return nil, host
end

--- Lends a connection for that route.
function Pool:acquire(route, progress)
  if self.closed then raise_closed() end
  self:_bind()
  settle(self)
  local host = self:_host(route.key)
  local conn = table.remove(host.idle)
  if conn then self.idle = self.idle - 1 elseif not take_place(self, host) then
    progress.phase = "pool"
    conn = wait(self, host)
  end
  local good = conn and conn ~= true and reuse(self, host, conn)
  return good or self:open_in_place(host, route, progress)
end

--- Lends a new one in the place of one that has died.
function Pool:replace(conn, route, progress)
  local host, epoch = conn.host, conn.epoch
  conn.pool = false
  conn:close(true)
  if epoch ~= self.epoch then raise_closed() end
  return self:open_in_place(host, route, progress)
end

local sweep

local function arm(pool, at)
  if pool.timer then
    if pool.timer_at <= at then return end
    pool.timer:cancel()
  end
  pool.timer, pool.timer_at = pool.loop:call_at(at, sweep, pool), at
end

--- Those that have been idle for too long go.
function sweep(pool)
  pool.timer = false
  local now, soonest = pool.loop:time() + 1e-6, math.huge
  for _, host in pairs(pool.hosts) do
    for i = #host.idle, 1, -1 do
      local expires = host.idle[i].expires
      if expires > now then soonest = math.min(soonest, expires) end
    end
  end
  local gone = {}
  for _, host in pairs(pool.hosts) do
    for i = #host.idle, 1, -1 do
      if host.idle[i].expires <= now then
        gone[#gone + 1] = table.remove(host.idle, i)
        pool.idle = pool.idle - 1
      end
    end
  end
  for _, conn in ipairs(gone) do conn:close() end
  if soonest < math.huge then arm(pool, soonest) end
end

--- It comes back, and can be asked again. seconds: how long the server keeps it, as far as it says
function Pool:release(conn, seconds)
  if seconds then conn.keep = math.min(seconds, self.longest) end
  local keep = conn.keep or self.keepalive
  conn.lent = false
  local useless = self.closed or keep <= 0 or conn.epoch ~= self.epoch or self.loop:is_closed()
  if useless then return conn:close() end
  conn.expires = self.loop:time() + keep
  table.insert(conn.host.idle, conn)
  self.idle = self.idle + 1
  arm(self, conn.expires)
  if self.waiting > 0 then serve(self) end
end

--- Lends no more: what is idle is closed, what is lent when it comes back; who waits gets ClosedError.
function Pool:close()
  if self.closed then return end
  self.closed = true
  if not self.loop or self.loop:is_closed() then return end
  if self.timer then self.timer:cancel() end
  if self.watch then self.watch:cancel() end
  local idle, waiters = {}, {}
  for _, host in pairs(self.hosts) do
    table.move(host.idle, 1, #host.idle, #idle + 1, idle)
    host.idle = {}
    for i = host.first, host.last do waiters[#waiters + 1] = host.queue[i] end
    host.first, host.last, host.queue = 1, 0, {}
  end
  self.idle, self.waiting = 0, 0
  for _, conn in ipairs(idle) do conn:close() end
  for _, waiter in ipairs(waiters) do
    if not waiter.gone then
      waiter.gone = true
      core.give_answer(waiter.answer)
    end
  end
end

return connections
