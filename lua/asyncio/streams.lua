--- What is policy of streams: names, several addresses, the standard streams.
-- @module asyncio.streams
local check = require "asyncio.check"
local core = require "asyncio.core"
local tasks = require "asyncio.tasks"

local streams = {}

local LONGEST_HOST = 1024 -- bytes; NI_MAXHOST has one more
local HAPPY_EYEBALLS_DELAY = 0.25 -- seconds before the next address is tried too (RFC 8305, 5)

local LIMIT = { "limit", "integer", 1, math.maxinteger // 4 }
local FAMILY = { "family", "choice", "inet|inet6|any" }
local NODELAY, KEEPALIVE = { "nodelay", "boolean" }, { "keepalive", "boolean" }
local BACKLOG = { "backlog", "integer", 0, 0x7fffffff }
local START_SERVING, CLOSE_TIMEOUT = { "start_serving", "boolean" }, { "close_timeout", "seconds" }
local MAX_CONNECTIONS = { "max_connections", "integer", 1, 0x7fffffff }
local STOP_GRACE = { "stop_grace", "seconds" }

local LOCAL_ADDRESS = check.options {
  "local_addr", 3, { "host", "string", required = true }, { "port", "integer", 0, 65535 }, FAMILY,
  { "scope_id", "integer", 0 },
}
local CONNECT_OPTIONS = check.options {
  "open_connection", 3, LIMIT, FAMILY, { "local_addr", "table", LOCAL_ADDRESS },
  { "happy_eyeballs_delay", "seconds" }, NODELAY, KEEPALIVE,
}
local SERVER_OPTIONS = check.options {
  "start_server", 4, LIMIT, FAMILY, BACKLOG, { "reuse_address", "boolean" }, { "reuse_port", "boolean" },
  NODELAY, KEEPALIVE, START_SERVING, CLOSE_TIMEOUT, MAX_CONNECTIONS, STOP_GRACE,
}
local UNIX_CONNECT_OPTIONS = check.options { "open_unix_connection", 2, LIMIT }
local UNIX_SERVER_OPTIONS = check.options {
  "start_unix_server", 3, LIMIT, BACKLOG, START_SERVING, CLOSE_TIMEOUT, MAX_CONNECTIONS, STOP_GRACE,
  { "cleanup_socket", "boolean" },
}
local STDIN_OPTIONS = check.options { "stdin", 1, LIMIT }
local STDOUT_OPTIONS, STDERR_OPTIONS = check.options { "stdout", 1 }, check.options { "stderr", 1 }

local function check_port(port, n, name)
  if not math.type(port) then check.fail(n, name, "port number", port) end
  local number = math.tointeger(port)
  if not number or number < 0 or number > 65535 then
    check.error(n, name, ("port from 0 to 65535 expected, got %s"):format(port))
  end
  return number
end

--- A name that can be looked up.
local function check_host(host, n, name, expected)
  if type(host) ~= "string" then check.fail(n, name, expected, host) end
  if #host > LONGEST_HOST then check.error(n, name, "name too long") end
  if host:find("\0", 1, true) then check.error(n, name, "name with a zero byte") end
end

local function check_handler(handler, name)
  check.callable(handler, 1, name, name .. "(handler, ...)", name .. "(handler(...), ...)")
end

--- The addresses in the order of RFC 8305: the families in turn, beginning with the first one's.
local function interleaved(addresses)
  local queues, families = {}, {}
  for _, address in ipairs(addresses) do
    if not queues[address.family] then
      queues[address.family] = {}
      families[#families + 1] = address.family
    end
    table.insert(queues[address.family], address)
  end
  local list = {}
  while #list < #addresses do
    for _, family in ipairs(families) do list[#list + 1] = table.remove(queues[family], 1) end
  end
  return list
end

--- One error for all attempts: the last one's class, every one's message.
local function all_failed(host, port, errors)
  local last = errors[#errors]
  if #errors == 1 or not core.isinstance(last, core.OSError) then return last end
  local texts = {}
  for i, err in ipairs(errors) do texts[i] = core.words(err) end
  return getmetatable(last) {
    message = ("connect %s:%s: every address failed: %s"):format(host, port, table.concat(texts, "; ")),
    code = last.code, errno = last.errno, syscall = "connect", address = last.address, errors = errors,
  }
end

--- Ends the attempts that lost; a stream that one of them got all the same is dropped.
local function end_attempts(attempts, winner)
  local interruption
  for _, attempt in ipairs(attempts) do attempt:cancel() end
  for _, attempt in ipairs(attempts) do
    while not attempt:done() do
      local ok, err = pcall(tasks.wait, { attempt })
      if not ok and not core.isinstance(err, core.CancelledError) then error(err, 0) end
      if not ok then interruption = interruption or err end
    end
  end
  for _, attempt in ipairs(attempts) do
    if (attempt ~= winner or interruption) and not attempt:cancelled() and not attempt:_failed() then
      local reader, writer = attempt:result()
      if reader then writer:abort() end
    end
  end
  if interruption then error(interruption, 0) end
end

local function copied(opts)
  local plain = {}
  for key, value in pairs(opts) do plain[key] = value end
  return plain
end

--- One attempt: from the first local address of the same family that can be had, where some are given.
local function connect(address, opts, locals)
  if not locals then return core.connect(address, opts) end
  local failure
  for _, from in ipairs(locals) do
    if from.family == address.family then
      opts = copied(opts)
      opts.local_addr = from
      local results = table.pack(core.pcall(core.connect, address, opts))
      if results[1] then return table.unpack(results, 2, results.n) end
      failure = results[2]
      local taken = core.isinstance(failure, core.OSError) and
        (failure.syscall == "bind" or failure.code == "EADDRINUSE") -- libuv tells that one at the connect
      if not taken then break end
    end
  end
  if failure then error(failure, 0) end
  error(core.OSError { message = ("no local address of family %s, as %s has"):format(address.family, address),
    code = "EADDRNOTAVAIL", syscall = "bind", address = tostring(address) }, 0)
end

--- The same as one of several: that an address doesn't answer is a value, for which nobody need look when
-- another has won.
local function attempt_to_connect(address, opts, locals)
  local results = table.pack(core.pcall(connect, address, opts, locals))
  if results[1] then return table.unpack(results, 2, results.n) end
  if core.isinstance(results[2], core.OSError) then return nil, results[2] end
  error(results[2], 0)
end

--- Tries the addresses, the next one when the last has failed or takes too long.
local function race(addresses, host, port, opts, locals)
  local delay = opts.happy_eyeballs_delay or HAPPY_EYEBALLS_DELAY
  local attempts, pending, errors, winner = {}, {}, {}, nil
  local ok, err = pcall(function()
    local i = 0
    while not winner and (i < #addresses or #pending > 0) do
      if i < #addresses then
        i = i + 1
        local attempt = core.create_task(attempt_to_connect, addresses[i], opts, locals)
        attempts[#attempts + 1], pending[#pending + 1] = attempt, attempt
      end
      local done
      done, pending = tasks.wait(pending, {
        timeout = i < #addresses and delay or nil, return_when = tasks.FIRST_COMPLETED,
      })
      for _, attempt in ipairs(done) do
        local reader, failure = attempt:result()
        if reader then winner = winner or attempt else errors[#errors + 1] = failure end
      end
    end
  end)
  end_attempts(attempts, ok and winner)
  if not ok then error(err, 0) end
  if not winner then error(all_failed(host, port, errors), 0) end
  return winner:result()
end

--- Connects to a TCP server.
-- Raises OSError (ConnectionRefusedError, GaiError, ...) when that fails.
-- @tparam string host a name or a number
-- @tparam integer port
-- @tparam[opt] table opts `limit` (65536), `family` ("any"; "inet", "inet6"),
-- `local_addr` ({host=, port=}), `happy_eyeballs_delay` (0.25 s), `nodelay` (true), `keepalive` (false)
-- @treturn StreamReader
-- @treturn StreamWriter
-- @usage
-- local function greet(_, writer) writer:send "welcome\n" end
-- local server <close> = asyncio.start_server(greet, "127.0.0.1", 0)
-- local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
-- for line in reader:lines() do
--   print(line) --> welcome
-- end
function streams.open_connection(host, port, opts)
  check_host(host, 1, "open_connection", "host name")
  port = check_port(port, 2, "open_connection")
  opts = CONNECT_OPTIONS(opts)
  local loop = core.get_running_loop()
  local from, locals = opts.local_addr, nil
  if from then
    opts.local_addr = nil
    locals = loop:getaddrinfo(from.host, from.port or 0, { family = opts.family })
  end
  local addresses = loop:getaddrinfo(host, port, { family = opts.family })
  if #addresses == 1 then return connect(addresses[1], opts, locals) end
  if #addresses == 0 then error(core.GaiError(("no address for %s"):format(host)), 2) end
  return race(interleaved(addresses), host, port, opts, locals)
end

--- The address of a unix socket.
local function unix_address(path, n, name)
  if type(path) ~= "string" then check.fail(n, name, "path", path) end
  local what
  if path == "" then
    what = "a path that isn't empty expected"
  elseif path:byte() ~= 0 and path:find("\0", 1, true) then
    what = "path with a zero byte"
  elseif #path > core.longest_path then
    what = ("the path of a unix socket has %d bytes at most, got %d"):format(core.longest_path, #path)
  end
  if what then check.error(n, name, what) end
  return { family = "unix", path = path }
end

--- Connects to a server's unix socket. While the server's backlog is full it waits.
-- Raises OSError (FileNotFoundError, ConnectionRefusedError, PermissionError, ...) when that fails.
-- @tparam string path on Linux one that begins with a zero byte is an abstract name
-- @tparam[opt] table opts `limit` (65536)
-- @treturn StreamReader
-- @treturn StreamWriter
function streams.open_unix_connection(path, opts)
  local address, pause = unix_address(path, 1, "open_unix_connection"), 0.001
  opts = UNIX_CONNECT_OPTIONS(opts)
  core.get_running_loop()
  while true do
    local ok, reader, writer = pcall(core.connect_unix, address, opts)
    if ok then return reader, writer end
    if not core.isinstance(reader, core.OSError) or reader.code ~= "EAGAIN" then error(reader, 0) end
    core.sleep(pause)
    pause = math.min(2 * pause, 0.05)
  end
end

--- The distinct addresses of one host, several, or (nil) all of this machine.
local function listen_addresses(loop, host, port, family)
  local list, seen = {}, {}
  for _, name in ipairs(type(host) == "table" and host or { host or false }) do
    for _, address in ipairs(loop:getaddrinfo(name or nil, port, { family = family, passive = true })) do
      local text = tostring(address)
      if not seen[text] then
        seen[text] = true
        list[#list + 1] = address
      end
    end
  end
  return list
end

--- Starts a TCP server: `handler(reader, writer)` runs as a task for each connection.
-- When it returns or fails, its connection is sent what is left and closed; a failure is reported, unless
-- it is that its own connection broke (see `Server:stats`).
-- @tparam function handler
-- @param host a name or number, a list of them, or nil: every address of this machine
-- @tparam integer port 0: any that is free, see `Server:sockets`
-- @tparam[opt] table opts `limit` (65536), `family` ("any"; "inet", "inet6"), `backlog` (128),
-- `reuse_address` (true), `reuse_port` (false), `nodelay` (true), `keepalive` (false),
-- `start_serving` (true), `close_timeout` (30 s without progress, then a connection that is being closed is
-- aborted), `max_connections` (no limit; at so many accepting pauses, and goes on when one has ended: who
-- comes meanwhile waits in the backlog), `stop_grace` (0 s; otherwise a cancellation, by Ctrl-C say, of
-- `serve_forever` or of the block that has the server is a `Server:shutdown` with so much grace; the next one
-- breaks that off)
-- @treturn Server
-- @usage
-- local function handler(reader, writer)
--   for line in reader:lines() do writer:send(line:reverse(), "\n") end
-- end
-- local server <close> = asyncio.start_server(handler, "127.0.0.1", 0, { backlog = 500 })
-- local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
-- writer:send "stressed\n"
-- print((reader:readline():gsub("\n", ""))) --> desserts
function streams.start_server(handler, host, port, opts)
  check_handler(handler, "start_server")
  for _, name in ipairs(type(host) == "table" and host or { host }) do
    check_host(name, 2, "start_server", "host name, list of them or nil")
  end
  port = check_port(port, 3, "start_server")
  opts = SERVER_OPTIONS(opts)
  local addresses = listen_addresses(core.get_running_loop(), host, port, opts.family)
  if #addresses == 0 then error(core.GaiError "no address to listen on", 2) end
  return core.listen(handler, addresses, opts)
end

--- Starts a server on a unix socket, otherwise as `start_server`.
-- The file of a server that is gone is replaced; where one listens it raises AddressInUseError. Closing
-- the server removes its file.
-- @tparam function handler
-- @tparam string path on Linux one that begins with a zero byte is an abstract name
-- @tparam[opt] table opts `limit` (65536), `backlog` (128), `start_serving` (true), `close_timeout` (30),
-- `max_connections`, `stop_grace` (0), `cleanup_socket` (true: closing removes the file)
-- @treturn Server
function streams.start_unix_server(handler, path, opts)
  check_handler(handler, "start_unix_server")
  local address = unix_address(path, 2, "start_unix_server")
  return core.listen(handler, { address }, UNIX_SERVER_OPTIONS(opts))
end

--- The process's standard input as a stream: one for each loop, whoever asks.
-- It reads in blocks, while somebody waits. What is left of a block is there in the next loop, too; `io.read`
-- and other programs find it where standard input is a file, but not where it is a pipe or a socket. That it
-- cannot be read is an OSError, not the end.
-- @tparam[opt] table opts `limit` (65536); given again, it is the new one of the stream that there is
-- @treturn StreamReader
-- @usage
-- local asyncio = require "asyncio"
--
-- asyncio.run(function()
--   for line in asyncio.stdin():lines() do asyncio.stdout():send(line:upper(), "\n") end
-- end)
function streams.stdin(opts) return core.open_standard(0, STDIN_OPTIONS(opts)) end

--- The process's standard output as a stream: one for each loop, whoever asks, which keeps it.
-- The end of `run` waits until its reader has taken all that was written, as long as that takes, or until
-- Ctrl-C. What a device refuses, as a full disk, is raised by `drain`, `send`, `wait_closed` and `<close>`;
-- where nobody waited it is reported. `print` has a buffer of its own: what it has printed may come out later
-- than what is written here.
-- @treturn StreamWriter
function streams.stdout(...) return core.open_standard(1, STDOUT_OPTIONS(...)) end

--- The process's standard error as a stream, otherwise as `stdout`.
-- @treturn StreamWriter
function streams.stderr(...) return core.open_standard(2, STDERR_OPTIONS(...)) end

return streams
