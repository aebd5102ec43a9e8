-- secure.lua - the two ends of encrypted connections in the TLS specs.
local t = require "helper"
local peers = require "peers"

if not package.searchpath("asyncio.openssl", package.cpath) then
  print "# skip: asyncio.openssl is not built: OpenSSL's headers are missing"
  print "spec: 0 passed, 0 failed, 1 skipped"
  os.exit(true)
end

local certificates = require "certificates"
local ssl = require "asyncio.ssl"

local asyncio = t.asyncio
local secure = { ssl = ssl, certificates = certificates, VERSIONS = { "TLSv1.2", "TLSv1.3" } }

--- Whether a tool watches: all is slower then, and what has been freed may be kept.
secure.watched = t.slow or os.getenv "ASAN_OPTIONS" ~= nil

--- Skips the test where the system doesn't tell what a process takes.
function secure.need_proc()
  local file = io.open "/proc/self/statm"
  if not file then t.skip "there is no /proc" end
  file:close()
end

local function joined(a, b)
  local all = {}
  for _, one in ipairs { a or {}, b or {} } do
    for key, value in pairs(one) do all[key] = value end
  end
  return all
end
secure.joined = joined

--- A server's context with the named certificate ("server").
function secure.server_context(opts, name)
  return ssl.create_server_context(joined(certificates[name or "server"], opts))
end

--- A client's context that trusts the specs' root.
function secure.client_context(opts)
  return ssl.create_default_context(joined({ cafile = certificates.file "root.pem" }, opts))
end

--- A server on a free port of 127.0.0.1; opts.ssl: its context.
function secure.serve(handler, opts)
  return peers.serve(handler, joined({ ssl = secure.server_context() }, opts))
end

--- Connects to a port, or a server, as "localhost".
function secure.connect(to, opts)
  local port = type(to) == "number" and to or peers.port(to)
  if not (opts and opts.ssl) then opts = joined({ ssl = secure.client_context() }, opts) end
  return asyncio.open_connection("127.0.0.1", port, joined({ server_hostname = "localhost" }, opts))
end

--- As peers.pair, encrypted. opts: `near` and `far`, options of each end; `version`, the only one.
function secure.pair(fn, opts)
  opts = opts or {}
  local version = { minimum_version = opts.version, maximum_version = opts.version }
  return peers.pair(fn, {
    near = joined({ ssl = secure.client_context(version), server_hostname = "localhost" }, opts.near),
    far = joined({ ssl = secure.server_context(version) }, opts.far),
  })
end

--- Shakes hands over both ends; what each start_tls has raised: nil where it succeeded.
function secure.shake(near, far, near_context, far_context, opts)
  local served = asyncio.create_task(function()
    local ok, err = pcall(far.start_tls, far, far_context or secure.server_context(), { server_side = true })
    return not ok and err or nil
  end)
  local ok, err = pcall(near.start_tls, near, near_context or secure.client_context(),
    joined({ server_hostname = "localhost" }, opts))
  return not ok and err or nil, asyncio.await(served)
end

--- Calls fn(reader, writer, peer_reader, peer_writer) with an encrypted connection in memory; on the virtual clock,
-- too. opts: `near` and `far`, the contexts; the rest is stream_pair's.
function secure.memory(fn, opts)
  opts = joined(opts)
  local near, far = opts.near, opts.far
  opts.near, opts.far = nil, nil
  local reader, writer <close>, peer_reader, peer_writer = asyncio.stream_pair(opts)
  local _ <close> = peer_writer
  local failed, refused = secure.shake(writer, peer_writer, near, far)
  if failed or refused then error(failed or refused, 0) end
  fn(reader, writer, peer_reader, peer_writer)
  writer:abort()
  peer_writer:abort()
end

--- Carries raw bytes both ways between two streams until both have ended, in pieces of the sizes that
-- `size()` gives; a task.
function secure.relay(reader1, writer1, reader2, writer2, size)
  local function carry(from, to)
    for data in from:blocks(65536) do
      local at = 1
      while at <= #data do
        local n = size()
        to:send(data:sub(at, at + n - 1))
        asyncio.sleep(0)
        at = at + n
      end
    end
    to:write_eof()
  end
  --- An end that is closed takes no more.
  local function try(...)
    local ok, err = pcall(carry, ...)
    if not ok and not asyncio.isinstance(err, asyncio.Error) then error(err, 0) end
  end
  return asyncio.create_task(function()
    local group <close> = asyncio.TaskGroup()
    group:create_task(try, reader1, writer2)
    group:create_task(try, reader2, writer1)
  end)
end

--- A bare socket at the other end of a listening port: it sends text, and ours is told `read` of it.
function secure.bare(fn)
  local socket = peers.luasocket()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  listener:settimeout(5)
  fn(listener, tonumber(port))
  listener:close()
end

return secure
