--- Connecting: names, several addresses, for so long. Loaded when it is first used.
-- @module asyncio.connecting
local check = require "asyncio.check"
local core = require "asyncio.core"
local sockets = require "asyncio.sockets"
local tasks = require "asyncio.tasks"
local timeouts = require "asyncio.timeouts"

local connecting = {}

local HAPPY_EYEBALLS_DELAY = 0.25 -- seconds before the next address is tried too (RFC 8305, 5)

local LOCAL_ADDRESS = check.options {
  "local_addr", 3, { "host", "string", required = true }, sockets.PORT, sockets.FAMILY,
  { "scope_id", "integer", 0 },
}
local FOR_SO_LONG = { { "connect_timeout", "positive" } }
local CONNECT = {
  sockets.FAMILY, { "local_addr", "table", LOCAL_ADDRESS }, { "happy_eyeballs_delay", "seconds" },
}
local OPTIONS = sockets.options("open_connection", 3, nil, sockets.STREAM, sockets.TCP, sockets.TLS,
  FOR_SO_LONG, CONNECT)
local BY_NAME = sockets.options("open_connection", 1, "all", sockets.PLACE, sockets.STREAM, sockets.TCP,
  sockets.TLS, FOR_SO_LONG, CONNECT)
local UNIX_OPTIONS = sockets.options("open_unix_connection", 2, nil, sockets.STREAM, sockets.TLS, FOR_SO_LONG)
local UNIX_BY_NAME = sockets.options("open_unix_connection", 1, "all", sockets.UNIX_PLACE, sockets.STREAM,
  sockets.TLS, FOR_SO_LONG)

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

local PHASES = {
  lookup = "its name was being looked up", connect = "connecting was under way",
  handshake = "its handshake was under way",
}

--- Runs `fn(progress)`, which says in `progress.phase` what it does, for so long at most.
local function limited(seconds, to, fn)
  local progress = { phase = "connect" }
  return timeouts._within(seconds, function()
    local phase = progress.phase
    local text = ("no connection to %s after %.14g s: %s"):format(to, seconds, PHASES[phase])
    return core.TimeoutError { phase = phase, message = text }
  end, fn, progress)
end

--- What the handshake of a connection to there needs; nil: it has none. host: its name, of that argument
local function tls_order(opts, n, name, to, key, host, host_n, host_prefix)
  if not sockets.names_tls(opts) then return nil end
  return require "asyncio.securing".client_order(opts, n, name, to, key, host, host_n, host_prefix)
end

local function secure(writer, order, progress)
  progress.phase = "handshake"
  require "asyncio.securing".secure(writer, order)
end

--- A connected socket that was made elsewhere.
local function adopt(opts, name, only_unix)
  core.get_running_loop()
  local order = tls_order(opts, 1, name, ("descriptor %d"):format(opts.fd))
  local reader, writer = core.adopt(opts.fd, opts, sockets.is_unix(opts.fd, 1, name, "connected", only_unix))
  if order then secure(writer, order, {}) end
  return reader, writer
end

--- Looks up and connects.
local function connect_by_name(host, port, opts, progress)
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

--- ... and shakes hands: the attempt that has won does.
local function connect_to(host, port, opts, order, progress)
  local reader, writer = connect_by_name(host, port, opts, progress)
  if order then secure(writer, order, progress) else sockets.hosts[writer] = host end
  return reader, writer
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
-- `write_timeout`, if that is less than 30 s. A `connect_timeout` is for the lookup, connecting and the
-- handshake together, whose `phase` is `"lookup"`, `"connect"` or `"handshake"`.
--
-- `keepalive` is `true` or `{idle = 60, interval = 10, count = 6}`, which is what `true` means: seconds
-- without traffic before the first probe, seconds between probes, how many without an answer break the
-- connection.
--
-- With `ssl`, `true` or a client's context of `asyncio.ssl`, the connection is one of TLS: it is there when
-- the handshake has succeeded, otherwise that raises SSLError (SSLCertVerificationError). The peer's
-- certificate must be for `server_hostname`, which is `host` unless it is given; with `fd` it must be. A
-- handshake may take `ssl_handshake_timeout`. Once it has begun an `fd` is closed in any case: the peer has
-- been told of it, and the connection is good for nothing else.
-- @tparam string host a name or a number; or the table
-- @tparam integer port
-- @tparam[opt] table opts `limit` (65536), `family` ("any"; "inet", "inet6"),
-- `local_addr` ({host=, port=}), `happy_eyeballs_delay` (0.25 s), `nodelay` (true), `keepalive` (false),
-- `connect_timeout`, `read_timeout`, `write_timeout` (seconds; none), `ssl` (none), `server_hostname` (host),
-- `ssl_handshake_timeout` (15 s)
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
function connecting.open_connection(host, port, opts)
  local in_table = false
  if sockets.by_name(host, port, opts) then
    opts = BY_NAME(host)
    if opts.fd then
      sockets.check_alone(opts, 1, "open_connection", "fd", sockets.PLACE, FOR_SO_LONG, CONNECT)
      return adopt(opts, "open_connection")
    end
    in_table = true
    host, port = sockets.take(opts, "host"), sockets.take(opts, "port")
    sockets.check_host(host, 1, "open_connection", "host name", "'host': ")
    port = sockets.check_port(port, 1, "open_connection", "'port': ")
  else
    sockets.check_host(host, 1, "open_connection", "host name")
    port = sockets.check_port(port, 2, "open_connection")
    opts = OPTIONS(opts)
  end
  local to = sockets.names_tls(opts) and ("%s:%d"):format(host, port)
  local order = to and tls_order(opts, in_table and 1 or 3, "open_connection", to, to, host, 1,
    in_table and "'host': " or "")
  core.get_running_loop()
  local reader, writer -- no tail calls: what cannot wait is named as it was called
  if opts.connect_timeout then
    reader, writer = limited(opts.connect_timeout, ("%s:%d"):format(host, port), function(progress)
      return connect_to(host, port, opts, order, progress)
    end)
  else
    reader, writer = connect_to(host, port, opts, order, {})
  end
  return reader, writer
end

--- Connects, when the server's backlog has room.
local function connect_to_path(address, opts, order, progress)
  local pause = 0.001
  while true do
    local ok, reader, writer = pcall(core.connect_unix, address, opts)
    if ok then
      if order then secure(writer, order, progress) end
      return reader, writer
    end
    if not core.isinstance(reader, core.OSError) or reader.code ~= "EAGAIN" then error(reader, 0) end
    core.sleep(pause)
    pause = math.min(2 * pause, 0.05)
  end
end

--- Connects to a server's unix socket. While the server's backlog is full it waits.
-- Raises OSError (FileNotFoundError, ConnectionRefusedError, PermissionError, ...) when that fails. The
-- arguments may be given by name, as those of `open_connection`: `{path=}`, or `fd` for a connected socket
-- that was made elsewhere. With `ssl` it is one of TLS, likewise; a path has no name, so `server_hostname`
-- must be given where the context checks it.
-- @tparam string path on Linux one that begins with a zero byte is an abstract name
-- @tparam[opt] table opts `limit` (65536), `read_timeout`, `write_timeout`, `connect_timeout`, `ssl`,
-- `server_hostname`, `ssl_handshake_timeout`: as `open_connection`'s
-- @treturn StreamReader
-- @treturn StreamWriter
function connecting.open_unix_connection(path, opts)
  local address, in_table
  if sockets.by_name(path, opts) then
    opts = UNIX_BY_NAME(path)
    if opts.fd then
      sockets.check_alone(opts, 1, "open_unix_connection", "fd", sockets.UNIX_PLACE, FOR_SO_LONG)
      return adopt(opts, "open_unix_connection", true)
    end
    in_table = true
    address = sockets.unix_address(sockets.take(opts, "path"), 1, "open_unix_connection", "'path': ")
  else
    address = sockets.unix_address(path, 1, "open_unix_connection")
    opts = UNIX_OPTIONS(opts)
  end
  local to = core.words(address.path)
  local order = tls_order(opts, in_table and 1 or 2, "open_unix_connection", to, "unix:" .. address.path)
  core.get_running_loop()
  local reader, writer
  if opts.connect_timeout then
    reader, writer = limited(opts.connect_timeout, to, function(progress)
      return connect_to_path(address, opts, order, progress)
    end)
  else
    reader, writer = connect_to_path(address, opts, order, {})
  end
  return reader, writer
end

return connecting
