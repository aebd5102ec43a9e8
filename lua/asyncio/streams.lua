--- What is policy of streams: names, several addresses, the standard streams.
-- @module asyncio.streams
local check = require "asyncio.check"
local core = require "asyncio.core"
local tasks = require "asyncio.tasks"
local timeouts = require "asyncio.timeouts"

local streams = {}

local LONGEST_HOST = 1024 -- bytes; NI_MAXHOST has one more
local HAPPY_EYEBALLS_DELAY = 0.25 -- seconds before the next address is tried too (RFC 8305, 5)

local HOST, PORT = { "host", "any" }, { "port", "integer", 0, 65535 }
local PATH, FD = { "path", "string" }, { "fd", "integer", 0, 0x7fffffff }
local LIMIT = { "limit", "integer", 1, math.maxinteger // 4 }
local READ_TIMEOUT, WRITE_TIMEOUT = { "read_timeout", "positive" }, { "write_timeout", "positive" }
local CONNECT_TIMEOUT = { "connect_timeout", "positive" }
local FAMILY = { "family", "choice", "inet|inet6|any" }
local BACKLOG = { "backlog", "integer", 0, 0x7fffffff }
local START_SERVING, CLOSE_TIMEOUT = { "start_serving", "boolean" }, { "close_timeout", "seconds" }
local MAX_CONNECTIONS = { "max_connections", "integer", 1, 0x7fffffff }
local STOP_GRACE = { "stop_grace", "seconds" }

local LOCAL_ADDRESS = check.options {
  "local_addr", 3, { "host", "string", required = true }, PORT, FAMILY, { "scope_id", "integer", 0 },
}
local PROBES = check.options {
  "keepalive", 3, { "idle", "integer", 1, 32767 }, { "interval", "integer", 1, 32767 },
  { "count", "integer", 1, 127 },
}

local STREAM = { LIMIT, READ_TIMEOUT, WRITE_TIMEOUT }
local TCP = { { "nodelay", "boolean" }, { "keepalive", "switch", PROBES } }
local CONNECT = {
  CONNECT_TIMEOUT, FAMILY, { "local_addr", "table", LOCAL_ADDRESS }, { "happy_eyeballs_delay", "seconds" },
}
local SERVE = { START_SERVING, CLOSE_TIMEOUT, MAX_CONNECTIONS, STOP_GRACE }
local LISTEN = { FAMILY, BACKLOG, { "reuse_address", "boolean" }, { "reuse_port", "boolean" } }
local LISTEN_UNIX = { BACKLOG, { "cleanup_socket", "boolean" } }

--- A table of options made of lists of them.
local function options(call, arg, form, ...)
  local spec = { call, arg, form = form }
  for _, list in ipairs { ... } do table.move(list, 1, #list, #spec + 1, spec) end
  return check.options(spec)
end

local CONNECT_OPTIONS = options("open_connection", 3, nil, STREAM, TCP, CONNECT)
local CONNECT_FORM = options("open_connection", 1, "all", { HOST, PORT, FD }, STREAM, TCP, CONNECT)
local SERVER_OPTIONS = options("start_server", 4, nil, STREAM, TCP, SERVE, LISTEN)
local SERVER_FORM = options("start_server", 2, "all", { HOST, PORT, FD }, STREAM, TCP, SERVE, LISTEN)
local UNIX_CONNECT_OPTIONS = options("open_unix_connection", 2, nil, STREAM, { CONNECT_TIMEOUT })
local UNIX_CONNECT_FORM = options("open_unix_connection", 1, "all", { PATH, FD }, STREAM, { CONNECT_TIMEOUT })
local UNIX_SERVER_OPTIONS = options("start_unix_server", 3, nil, STREAM, SERVE, LISTEN_UNIX)
local UNIX_SERVER_FORM = options("start_unix_server", 2, "all", { PATH, FD }, STREAM, SERVE, LISTEN_UNIX)
local STDIN_OPTIONS = check.options { "stdin", 1, LIMIT }
local STDOUT_OPTIONS, STDERR_OPTIONS = check.options { "stdout", 1 }, check.options { "stderr", 1 }

--- Whether a call's arguments were given by name, in one table.
local function by_name(first, second, third)
  return type(first) == "table" and getmetatable(first) == nil and second == nil and third == nil
end

--- Takes an argument that was given by name out of the options.
local function take(opts, key)
  local value = opts[key]
  opts[key] = nil
  return value
end

--- The options that are for making a socket don't go with one that was made elsewhere.
local function check_alone(opts, n, name, ...)
  for _, list in ipairs { ... } do
    for _, spec in ipairs(list) do
      if opts[spec[1]] ~= nil then check.error(n, name, ("'%s' does not go with 'fd'"):format(spec[1])) end
    end
  end
end

--- Whether a socket that was made elsewhere is a unix socket; an error when it isn't what is wanted.
local function is_unix(fd, n, name, wanted, only)
  local family, what = core.socket_family(fd, wanted == "listening")
  if family and only and family ~= "unix" then family, what = nil, "no unix socket" end
  if not family then
    check.error(n, name, ("'fd': a %s stream socket expected, descriptor %d is %s"):format(wanted, fd, what))
  end
  return family == "unix"
end

local function check_port(port, n, name, prefix)
  if not math.type(port) then check.fail(n, name, (prefix or "") .. "port number", port) end
  local number = math.tointeger(port)
  if not number or number < 0 or number > 65535 then
    check.error(n, name, ("port from 0 to 65535 expected, got %s"):format(port))
  end
  return number
end

--- A name that can be looked up.
local function check_host(host, n, name, expected, prefix)
  prefix = prefix or ""
  if type(host) ~= "string" then check.fail(n, name, prefix .. expected, host) end
  if #host > LONGEST_HOST then check.error(n, name, prefix .. "name too long") end
  if host:find("\0", 1, true) then check.error(n, name, prefix .. "name with a zero byte") end
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

local PHASES = { lookup = "its name was being looked up", connect = "connecting was under way" }

--- Runs `fn(progress)`, which says in `progress.phase` what it does, for so long at most.
local function limited(seconds, to, fn)
  local progress, scope = { phase = "connect" }, nil
  if not core.current_task() then return fn(progress) end -- it cannot wait, and says so
  local results = table.pack(xpcall(function()
    local limit <close> = timeouts.timeout(seconds)
    scope = limit
    return fn(progress)
  end, core.note_traceback))
  if results[1] then return table.unpack(results, 2, results.n) end
  local err = results[2]
  if scope and scope.timed_out ~= nil and rawequal(err, scope.timed_out) then
    local phase = progress.phase
    local text = ("no connection to %s after %.14g s: %s"):format(to, seconds, PHASES[phase])
    local failure = core.TimeoutError { phase = phase, message = text }
    core.replace_error(err, failure)
    error(failure, 0)
  end
  error(err, 0)
end

--- Looks up and connects.
local function connect_to(host, port, opts, progress)
  local loop = core.get_running_loop()
  local from, locals = opts.local_addr, nil
  progress.phase = "lookup"
  if from then
    opts.local_addr = nil
    locals = loop:getaddrinfo(from.host, from.port or 0, { family = opts.family })
  end
  local addresses = loop:getaddrinfo(host, port, { family = opts.family })
  progress.phase = "connect"
  if #addresses == 1 then return connect(addresses[1], opts, locals) end
  if #addresses == 0 then error(core.GaiError(("no address for %s"):format(host)), 0) end
  return race(interleaved(addresses), host, port, opts, locals)
end

--- Connects to a TCP server; or takes a connected socket that was made elsewhere.
-- Raises OSError (ConnectionRefusedError, GaiError, ...) when that fails.
--
-- The arguments may be given by name, in one table, with the options: `open_connection{host=, port=}`; or, in
-- place of host and port, `fd`: the descriptor of a connected stream socket. It belongs to the stream from
-- then on, which closes it, and it no longer blocks, for whoever shares it, too. When this raises it is still
-- the caller's.
--
-- `read_timeout` and `write_timeout` are for a call that waits: so many seconds without any byte's coming, or
-- being taken, and it raises TimeoutError (its field `phase` is `"read"` or `"write"`). The stream is as
-- before, and the next call may wait as long again; the time between calls doesn't count. Those that wait for
-- output are `drain`, `send` and, after `close`, `wait_closed`; `<close>` gives its peer up after
-- `write_timeout`, if that is less than 30 s. A `connect_timeout` is for the lookup and connecting together,
-- whose `phase` is `"lookup"` or `"connect"`.
--
-- `keepalive` is `true` or `{idle = 60, interval = 10, count = 6}`, which is what `true` means: seconds
-- without traffic before the first probe, seconds between probes, how many without an answer break the
-- connection.
-- @tparam string host a name or a number; or the table
-- @tparam integer port
-- @tparam[opt] table opts `limit` (65536), `family` ("any"; "inet", "inet6"),
-- `local_addr` ({host=, port=}), `happy_eyeballs_delay` (0.25 s), `nodelay` (true), `keepalive` (false),
-- `connect_timeout`, `read_timeout`, `write_timeout` (seconds; none)
-- @treturn StreamReader
-- @treturn StreamWriter
-- @usage
-- local function greet(_, writer) writer:send "welcome\n" end
-- local server <close> = asyncio.start_server(greet, "127.0.0.1", 0)
-- local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
-- for line in reader:lines() do
--   print(line) --> welcome
-- end
-- @usage
-- local server <close> = asyncio.start_server(function() asyncio.sleep(3600) end, "127.0.0.1", 0)
-- local reader, writer = asyncio.open_connection {
--   host = "127.0.0.1", port = server:sockets()[1].port, connect_timeout = 5, read_timeout = 0.25,
-- }
-- local ok, err = pcall(reader.readline, reader)
-- print(err.phase, asyncio.isinstance(err, asyncio.TimeoutError)) --> read  true
-- server:abort_clients()
function streams.open_connection(host, port, opts)
  if by_name(host, port, opts) then
    opts = CONNECT_FORM(host)
    if opts.fd then
      check_alone(opts, 1, "open_connection", { HOST, PORT }, CONNECT)
      core.get_running_loop()
      return core.adopt(opts.fd, opts, is_unix(opts.fd, 1, "open_connection", "connected"))
    end
    host, port = take(opts, "host"), take(opts, "port")
    check_host(host, 1, "open_connection", "host name", "'host': ")
    port = check_port(port, 1, "open_connection", "'port': ")
  else
    check_host(host, 1, "open_connection", "host name")
    port = check_port(port, 2, "open_connection")
    opts = CONNECT_OPTIONS(opts)
  end
  core.get_running_loop()
  local reader, writer -- no tail calls: what cannot wait is named as it was called
  if opts.connect_timeout then
    reader, writer = limited(opts.connect_timeout, ("%s:%d"):format(host, port), function(progress)
      return connect_to(host, port, opts, progress)
    end)
  else
    reader, writer = connect_to(host, port, opts, {})
  end
  return reader, writer
end

--- The address of a unix socket.
local function unix_address(path, n, name, prefix)
  prefix = prefix or ""
  if type(path) ~= "string" then check.fail(n, name, prefix .. "path", path) end
  local what
  if path == "" then
    what = "a path that isn't empty expected"
  elseif path:byte() ~= 0 and path:find("\0", 1, true) then
    what = "path with a zero byte"
  elseif #path > core.longest_path then
    what = ("the path of a unix socket has %d bytes at most, got %d"):format(core.longest_path, #path)
  end
  if what then check.error(n, name, prefix .. what) end
  return { family = "unix", path = path }
end

--- Connects, when the server's backlog has room.
local function connect_to_path(address, opts)
  local pause = 0.001
  while true do
    local ok, reader, writer = pcall(core.connect_unix, address, opts)
    if ok then return reader, writer end
    if not core.isinstance(reader, core.OSError) or reader.code ~= "EAGAIN" then error(reader, 0) end
    core.sleep(pause)
    pause = math.min(2 * pause, 0.05)
  end
end

--- Connects to a server's unix socket. While the server's backlog is full it waits.
-- Raises OSError (FileNotFoundError, ConnectionRefusedError, PermissionError, ...) when that fails. The
-- arguments may be given by name, as those of `open_connection`: `{path=}`, or `fd` for a connected socket
-- that was made elsewhere.
-- @tparam string path on Linux one that begins with a zero byte is an abstract name
-- @tparam[opt] table opts `limit` (65536), `read_timeout`, `write_timeout`, `connect_timeout`: as
-- `open_connection`'s
-- @treturn StreamReader
-- @treturn StreamWriter
function streams.open_unix_connection(path, opts)
  local address
  if by_name(path, opts) then
    opts = UNIX_CONNECT_FORM(path)
    if opts.fd then
      check_alone(opts, 1, "open_unix_connection", { PATH, CONNECT_TIMEOUT })
      core.get_running_loop()
      return core.adopt(opts.fd, opts, is_unix(opts.fd, 1, "open_unix_connection", "connected", true))
    end
    address = unix_address(take(opts, "path"), 1, "open_unix_connection", "'path': ")
  else
    address = unix_address(path, 1, "open_unix_connection")
    opts = UNIX_CONNECT_OPTIONS(opts)
  end
  core.get_running_loop()
  local reader, writer
  if opts.connect_timeout then
    reader, writer = limited(opts.connect_timeout, core.words(address.path), function()
      return connect_to_path(address, opts)
    end)
  else
    reader, writer = connect_to_path(address, opts)
  end
  return reader, writer
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

--- A server on a socket that was made elsewhere.
local function serve_adopted(handler, opts, name, only_unix, ...)
  check_alone(opts, 2, name, ...)
  core.get_running_loop()
  is_unix(opts.fd, 2, name, "listening", only_unix)
  return core.listen(handler, {}, opts)
end

local function check_hosts(host, n, name, prefix)
  for _, each in ipairs(type(host) == "table" and host or { host }) do
    check_host(each, n, name, "host name, list of them or nil", prefix)
  end
end

--- Starts a TCP server: `handler(reader, writer)` runs as a task for each connection.
-- When it returns or fails, its connection is sent what is left and closed; a failure is reported, unless
-- it is that its own connection broke, or its `read_timeout` or `write_timeout` (see `Server:stats`).
--
-- The arguments behind the handler may be given by name, in one table, with the options: `{host=, port=}`;
-- or, in place of host and port, `fd`: the descriptor of a socket that listens already, a service manager's.
-- It belongs to the server from then on, which closes it, and it no longer blocks, for whoever shares it,
-- too. When this raises it is still the caller's. A unix socket's file stays.
-- @tparam function handler
-- @param host a name or number, a list of them, or nil: every address of this machine; or the table
-- @tparam integer port 0: any that is free, see `Server:sockets`
-- @tparam[opt] table opts `limit` (65536), `family` ("any"; "inet", "inet6"), `backlog` (128),
-- `reuse_address` (true), `reuse_port` (false), `nodelay` (true), `keepalive` (false),
-- `start_serving` (true), `close_timeout` (30 s without progress, then a connection that is being closed is
-- aborted), `max_connections` (no limit; at so many accepting pauses, and goes on when one has ended: who
-- comes meanwhile waits in the backlog), `stop_grace` (0 s; otherwise a cancellation, by Ctrl-C say, of
-- `serve_forever` or of the block that has the server is a `Server:shutdown` with so much grace; the next one
-- breaks that off), `read_timeout`, `write_timeout`: as `open_connection`'s, for each connection
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
  if by_name(host, port, opts) and type(host[1]) ~= "string" then
    opts = SERVER_FORM(host)
    if opts.fd then return serve_adopted(handler, opts, "start_server", false, { HOST, PORT }, LISTEN) end
    host, port = take(opts, "host"), take(opts, "port")
    check_hosts(host, 2, "start_server", "'host': ")
    port = check_port(port, 2, "start_server", "'port': ")
  else
    check_hosts(host, 2, "start_server")
    port = check_port(port, 3, "start_server")
    opts = SERVER_OPTIONS(opts)
  end
  local addresses = listen_addresses(core.get_running_loop(), host, port, opts.family)
  if #addresses == 0 then error(core.GaiError "no address to listen on", 2) end
  return core.listen(handler, addresses, opts)
end

--- Starts a server on a unix socket, otherwise as `start_server`.
-- The file of a server that is gone is replaced; where one listens it raises AddressInUseError. Closing
-- the server removes its file. The arguments behind the handler may be given by name: `{path=}`, or `fd` for
-- a socket that listens already.
-- @tparam function handler
-- @tparam string path on Linux one that begins with a zero byte is an abstract name
-- @tparam[opt] table opts `limit` (65536), `backlog` (128), `start_serving` (true), `close_timeout` (30),
-- `max_connections`, `stop_grace` (0), `read_timeout`, `write_timeout`, `cleanup_socket` (true: closing
-- removes the file)
-- @treturn Server
function streams.start_unix_server(handler, path, opts)
  check_handler(handler, "start_unix_server")
  local address
  if by_name(path, opts) then
    opts = UNIX_SERVER_FORM(path)
    if opts.fd then return serve_adopted(handler, opts, "start_unix_server", true, { PATH }, LISTEN_UNIX) end
    address = unix_address(take(opts, "path"), 2, "start_unix_server", "'path': ")
  else
    address = unix_address(path, 2, "start_unix_server")
    opts = UNIX_SERVER_OPTIONS(opts)
  end
  return core.listen(handler, { address }, opts)
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
