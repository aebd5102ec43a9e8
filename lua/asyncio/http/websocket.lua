--- WebSocket: what a connection is after its opening handshake, on both sides.
--
-- Who waits for a message reads, which takes no other task's turn, and is C's (core.messages) until something
-- else comes. Where nobody waits for a while, or several do, or the end has come, a task of its
-- own reads from then on: it answers pings, hears the peer's end, and keeps messages until somebody receives
-- them. Once `max_queue` are waiting it reads no more, so that the peer has to wait. Timers are callbacks.
-- @module asyncio.http.websocket
local check = require "asyncio.check"
local core = require "asyncio.core"
local parsers = require "asyncio.parsers"

local get_running_loop, isinstance = core.get_running_loop, core.isinstance

local BLOCK = 65536    -- bytes that one read takes
local UNSENT = 65536   -- bytes of pongs that may wait for the peer, before nothing more is read
local AWAY = 0.25      -- seconds; nobody has waited for a message for two to three of these: a task reads
local LINGER = 2       -- seconds for which one that has failed may still send
local SLACK = 1e-6     -- seconds by which a timer may seem early, by rounding
local REASON = 123     -- bytes of a reason
local NORMAL, GOING, NO_CODE, CUT, FAILED = 1000, 1001, 1005, 1006, 1011

--- A WebSocket connection: `asyncio.http.websocket` opens one, `request:websocket` answers with one.
--
-- Messages that have come are kept in order, `max_queue` of them. After any end `receive` returns nil, and
-- `close_code` and `close_reason` say which: the code of the peer's Close frame (1005: it had none), 1006
-- where the connection was cut, or ours, where we ended it: 1002 after a frame against the rules, 1007 after
-- text that isn't UTF-8, 1009 after a message of more than `max_message` bytes, 1011 when a ping was not
-- answered, 1001 when the server is shut down.
-- `protocol` is the subprotocol that was agreed on, or nil.
--
-- Leaving the block of a `<close>` variable closes it with 1000, by an error with 1011; a cancellation does
-- not wait for the peer. Several tasks may send and receive.
-- @type WebSocket
-- @usage
-- local http = asyncio.http
-- local server <close> = http.serve(function(request)
--   local ws = request:websocket()
--   for text in ws:iter() do ws:send(text:upper()) end
-- end, "127.0.0.1", 0)
-- local ws <close> = http.websocket("ws://" .. tostring(server:sockets()[1]))
-- ws:send "tea"
-- print(ws:receive()) --> TEA  text
local WebSocket = { __name = "asyncio.WebSocket" }
WebSocket.__index = WebSocket

-- The end

--- Calls fn(self) so much later, in place of what was called then before.
local function set_timer(self, name, seconds, fn)
  if self[name] then self[name]:cancel() end
  self[name] = fn and self._loop:call_later(seconds, fn, self) or false
end

local function closed_error(self)
  local code, reason = self.close_code or NORMAL, self.close_reason or ""
  local why = reason == "" and "" or ": " .. reason
  return core.ClosedError(("the WebSocket is closed (%d%s)"):format(code, why))
end

local function note_end(self, code, reason)
  if not self.close_code then self.close_code, self.close_reason = code, reason end
end

local function abort(self) self._writer:abort() end

local function shut(self)
  self._closing = true
  self._talk:close()
end

--- From now on nothing is sent but a Close frame, which is the last, and what comes is read and dropped.
local function begin_closing(self, code, reason)
  set_timer(self, "_patience", self._close_timeout, abort) -- first: what follows may fail
  shut(self)
  self._messages:shutdown()
  set_timer(self, "_keeping")
  core.pcall(self._writer.write, self._writer, self._frames:close(code, reason)) -- the reader hears of errors
end

local start_reader

--- The peer has done what it must not, or is silent: it is told, and the end is ours. What it still sends is
-- read and dropped for a while, since to close at once might take our Close frame from it.
local function fail(self, code, reason)
  if self._closing then return end
  note_end(self, code, reason)
  begin_closing(self, code, reason:sub(1, REASON))
  self._deaf = true
  set_timer(self, "_patience", math.min(LINGER, self._close_timeout), abort)
  if self._writer:can_write_eof() then core.pcall(self._writer.write_eof, self._writer) end
  start_reader(self)
end

--- There is nothing more to come.
local function finish(self)
  note_end(self, CUT, "")
  shut(self)
  set_timer(self, "_keeping")
  set_timer(self, "_patience")
  self._messages:shutdown()
  for _, ping in pairs(self._pings) do
    if not ping.pong:done() then ping.pong:set_exception(closed_error(self)) end
  end
  self._pings = {}
  self._ended:set()
end

-- What comes

--- A message waits for who receives it. False: nobody will.
local function keep(self, message)
  local messages = self._messages
  if not messages:full() then return messages:put_nowait(message) end
  self._blocked = true
  local ok, err = core.pcall(messages.put, messages, message)
  self._blocked = false
  self._talk:hear()
  if not ok and not isinstance(err, core.QueueShutDown) then error(err, 0) end
end

local function answer_ping(self, data)
  self._writer:write(self._frames:frame("pong", data))
  if self._writer:pending() > UNSENT then self._writer:drain() end
end

--- A pong answers the ping that it repeats, and those before it.
local function take_pong(self, data)
  if not self._pings[data] then return end
  for payload, ping in pairs(self._pings) do
    if payload <= data then
      self._pings[payload] = nil
      if not ping.pong:done() then ping.pong:set_result(self._loop:time() - ping.sent) end
    end
  end
end

--- The peer's Close frame is answered once. A server ends the connection then, a client waits for that
-- (RFC 6455 7.1.1). Returns true where it is ours to end.
local function take_close(self, code, reason)
  note_end(self, code, reason)
  if not self._closing then begin_closing(self, code ~= NO_CODE and code or nil) end
  return self._server
end

--- Returns true when nothing more is to be read.
local function take(self, kind, a, b)
  if kind == "close" then return take_close(self, a, b) end
  if kind == "error" then
    fail(self, a, b)
  elseif self._closing then
    return false
  elseif kind == "text" then
    keep(self, a)
  elseif kind == "binary" then
    keep(self, { a })
  elseif kind == "ping" then
    answer_ping(self, a)
  else
    take_pong(self, a)
  end
  return false
end

--- Until the peer ends the connection, or it is ours to do so. kind, a, b: an event that is there already
local function read_all(self, kind, a, b)
  local talk, reader = self._talk, self._reader
  if kind and take(self, kind, a, b) then return end
  while not self._deaf do
    kind, a, b = talk:next()
    if not kind or not self._deaf and take(self, kind, a, b) then return end
  end
  while reader:read(BLOCK) do end
end

--- The task that reads. What breaks the connection is its end, and no error of the program's.
local function run(self, ...)
  local _ <close> = setmetatable({}, { __close = function() finish(self) end })
  local ok, err = core.pcall(read_all, self, ...)
  if core.is_last_message(self._reader) then
    note_end(self, GOING, "")
    if not self._closing then begin_closing(self, GOING) end
  end
  self._writer:close()
  if not ok and not isinstance(err, core.OSError) then error(err, 0) end
  core.pcall(self._writer.wait_closed, self._writer)
end

--- A task reads from now on, and nobody else. kind, a, b: an event that is there already
function start_reader(self, kind, a, b)
  if self._running then return end
  self._talk:stop() -- first: who reads has let go before the task begins
  local task = core.create_task { run, self, kind, a, b, name = "reader of " .. tostring(self) }
  self._running = true
  task:add_done_callback(function() -- there may be no memory to begin with
    finish(self)
    self._writer:close()
  end)
end

-- Who waits for a message reads

local WEAK = { __mode = "k" }
-- loop → its WebSockets for whose messages nobody waits, or not for long
local watches = setmetatable({}, WEAK)

local function look_for_who_is_away(watch)
  watch.timer, watch.tick = false, watch.tick + 1
  watch.timer = watch.loop:call_later(AWAY, look_for_who_is_away, watch) -- first: what follows may fail
  for self, since in pairs(watch.away) do
    if self._running then
      watch.away[self] = nil
    elseif self._talk:look() then
      watch.away[self] = watch.tick
    elseif watch.tick - since > 1 then
      start_reader(self)
      watch.away[self] = nil
    end
  end
  if not next(watch.away) then
    watch.timer:cancel()
    watch.timer = false
  end
end

local function watch_of(loop)
  local watch = watches[loop]
  if not watch then
    watch = { loop = loop, away = {}, tick = 0, timer = false }
    watches[loop] = watch
  end
  return watch
end

--- Nobody waits for a message of it now.
local function note_away(self)
  local watch = self._watch
  watch.away[self] = watch.tick
  if not watch.timer then watch.timer = self._loop:call_later(AWAY, look_for_who_is_away, watch) end
end

--- What a reading task has kept.
local function receive_kept(self)
  local _, message = self._next()
  if type(message) == "table" then return message[1], "binary" end
  if message then return message, "text" end
  return nil
end

--- The next message, or an event that is the end's; nil: nothing more comes, or not here.
-- kind, a, b: an event that is there already
local function next_message(self, kind, a, b)
  while kind == nil or kind == "ping" or kind == "pong" do
    if kind then take(self, kind, a, b) end
    kind, a, b = self._talk:take()
    if not kind then return nil end
  end
  return kind, a, b
end

--- Likewise for who waits for long, so that it counts among those that are away no more.
local function receive_here(self, kind, a, b)
  self._watch.away[self] = nil
  local ok, what, data, more = core.catch(next_message, self, kind, a, b)
  if ok and (what == "text" or what == "binary") then
    note_away(self)
    return data, what
  end
  if not ok and not isinstance(what, core.OSError) then -- a cancellation
    if not self._running then note_away(self) end
    error(what, 0)
  end
  if ok then start_reader(self, what, data, more) else start_reader(self) end
  return receive_kept(self)
end

--- What `receive` does besides: somebody waits for long, or several do; what has come is no message; a task
-- reads; the end. kind, a, b: an event that is there already
local function receive_otherwise(self, kind, a, b)
  if self._closing then
    start_reader(self)
  elseif not self._running then
    if not self._talk:is_read() then return receive_here(self, kind, a, b) end
    start_reader(self)
    core.sleep(0) -- who was here before goes first
  end
  return receive_kept(self)
end

-- Keeping it alive

local function send_ping(self)
  self._sent_pings = self._sent_pings + 1
  local payload = (">I8"):pack(self._sent_pings)
  self._writer:write(self._frames:frame("ping", payload))
  return payload
end

--- Anything that comes shows that the peer is there: a large message may take longer than a ping.
local function look(self)
  local now, heard = self._loop:time(), self._talk:heard()
  local since, wait = now - heard, self._ping_interval
  if self._blocked then -- it is we who don't read
    self._pinged = false
  elseif self._pinged and heard < self._pinged then
    wait = self._pinged + self._ping_timeout - now
    if wait <= SLACK then return fail(self, FAILED, "a ping was not answered") end
  elseif since < self._ping_interval - SLACK then
    self._pinged, wait = false, self._ping_interval - since
  else
    send_ping(self)
    self._pinged, wait = now, self._ping_timeout
  end
  set_timer(self, "_keeping", wait, look)
end

-- Methods

local function check_open(self, name)
  check.self(self, WebSocket, name)
  if self._closing then error(closed_error(self), 0) end
end

--- What C doesn't send: messages that are long, or wrong; and what is sent after the end.
local function sender(kind, name, expected)
  return function(self, data)
    check_open(self, name)
    if type(data) ~= "string" then check.fail(1, name, expected, data) end
    local first, more = self._frames:frame(kind, data)
    if not first then check.error(1, name, "a text must be UTF-8; send_binary takes any bytes") end
    if more then self._writer:send(first, more) else self._writer:send(first) end
  end
end

WebSocket.receive, WebSocket.iter, WebSocket.send, WebSocket.send_binary = core.message_methods(
  WebSocket.__name, "_talk", receive_otherwise,
  sender("text", "send", "text (a string)"), sender("binary", "send_binary", "string"))

--- Asks the peer for a sign of life.
-- @treturn number seconds that the answer took
-- @raise ClosedError when the connection ends before
function WebSocket:ping()
  check_open(self, "ping")
  local ping = { pong = self._loop:create_future(), sent = self._loop:time() }
  self._pings[send_ping(self)] = ping
  start_reader(self)
  return core.await(ping.pong)
end

--- Closes it: messages that nobody has received are dropped, and the peer is told. Waits for the peer to
-- agree, `close_timeout` at most, and for the connection's end. Once it is closed, closing does nothing.
-- @tparam[opt=1000] integer code 1000 to 1003, 1007 to 1014, 3000 to 4999
-- @tparam[opt=""] string reason UTF-8, up to 123 bytes
function WebSocket:close(code, reason)
  check.self(self, WebSocket, "close")
  if code ~= nil and not (math.type(code) == "integer" and parsers.websocket_may_say(code)) then
    check.fail(1, "close", "code (1000 to 1003, 1007 to 1014, 3000 to 4999)", code)
  end
  if reason ~= nil and not (type(reason) == "string" and #reason <= REASON and utf8.len(reason)) then
    check.fail(2, "close", "reason (UTF-8, up to 123 bytes)", reason)
  end
  if not self._closing then
    begin_closing(self, code or NORMAL, reason)
    while not self._messages:empty() do self._messages:get_nowait() end
  end
  start_reader(self)
  self._ended:wait()
end

function WebSocket:__close(err)
  if self._closing and not core.can_wait() then return abort(self) end
  if isinstance(err, core.CancelledError) or not core.can_wait() then
    if not self._closing then begin_closing(self, GOING) end
    if core.can_wait() then start_reader(self) end
    return self._writer:close()
  end
  self:close(err ~= nil and FAILED or NORMAL)
end

function WebSocket:__tostring()
  local peer = self._writer:get_extra_info "peername"
  return ("<WebSocket %s%s>"):format(self._closing and "closed " or "", peer and tostring(peer) or "")
end

--- One that has shaken hands. opts: as `http.websocket` has them; protocol: what was agreed on; bytes: what
-- came behind the handshake.
local function new(server, reader, writer, opts, protocol, bytes)
  local loop = get_running_loop()
  local messages = core.Queue(opts.max_queue or 16)
  local frames = parsers.websocket { role = server and "server" or "client", max_message = opts.max_message }
  local self = setmetatable({
    protocol = protocol, close_code = nil, close_reason = nil,
    _server = server, _reader = reader, _writer = writer, _loop = loop, _messages = messages,
    _frames = frames, _talk = core.messages(writer, frames),
    _next = messages:iter(), _ended = core.Event(), _pings = {}, _sent_pings = 0, _closing = false,
    _deaf = false, _blocked = false, _watch = watch_of(loop), _running = false, _pinged = false,
    _keeping = false, _patience = false, _close_timeout = opts.close_timeout or 10,
    _ping_interval = opts.ping_interval or 20, _ping_timeout = opts.ping_timeout or 20,
  }, WebSocket)
  if bytes and bytes ~= "" then core.leave_talk(reader, bytes, 0) end
  if self._ping_interval < math.huge then set_timer(self, "_keeping", self._ping_interval, look) end
  note_away(self)
  return self
end

return { new = new, WebSocket = WebSocket, GOING = GOING, NORMAL = NORMAL, FAILED = FAILED }
