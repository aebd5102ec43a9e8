-- peers.lua - who stands at the other end of a connection in the stream specs: our own streams, a bare
-- socket of LuaSocket, or a program.
local t = require "helper"

local asyncio = t.asyncio
local peers = {}

--- LuaSocket; the test is skipped where it is missing.
function peers.luasocket()
  local ok, socket = pcall(require, "socket")
  if not ok then t.skip "LuaSocket is not installed" end
  return socket
end

--- Whether a program can be found.
function peers.has(program)
  return (os.execute(("command -v '%s' >/dev/null 2>&1"):format(program)))
end

--- Skips the test where a program is missing.
function peers.need(program)
  if not peers.has(program) then t.skip(program .. " is not installed") end
end

function peers.port(server) return server:sockets()[1].port end

local reserved = {}

--- A port of 127.0.0.1 that refuses. It stays bound to the end, so that nobody else is given it; a program
-- that sets SO_REUSEADDR may listen there.
function peers.reserve_port()
  local socket = assert(peers.luasocket().tcp4())
  assert(socket:setoption("reuseaddr", true))
  assert(socket:bind("127.0.0.1", 0))
  reserved[#reserved + 1] = socket
  local _, port = socket:getsockname()
  return tonumber(port)
end

--- A port of 127.0.0.1 that never answers: its line of waiting connections is full.
function peers.deaf_port()
  local socket = peers.luasocket()
  local listener = assert(socket.tcp4())
  assert(listener:bind("127.0.0.1", 0))
  assert(listener:listen(0))
  local _, port = listener:getsockname()
  local held = { listener }
  for _ = 1, 64 do
    local client = assert(socket.tcp4())
    client:settimeout(0.05)
    held[#held + 1] = client
    if not client:connect("127.0.0.1", tonumber(port)) then
      return tonumber(port), setmetatable(held, {
        __close = function()
          for _, each in ipairs(held) do each:close() end
        end,
      })
    end
  end
  t.skip "a full line of waiting connections still answers here"
end

--- A server on a free port of 127.0.0.1.
function peers.serve(handler, opts) return asyncio.start_server(handler, "127.0.0.1", 0, opts) end

--- Connects to it.
function peers.connect(server, opts)
  local address = server:sockets()[1]
  return asyncio.open_connection(address.host, address.port, opts)
end

--- Calls fn(reader, writer, peer_reader, peer_writer) with both ends of a connection. What is not sent
-- when fn returns is dropped. opts: `near` and `far`, the options of each end.
function peers.pair(fn, opts)
  opts = opts or {}
  local loop = asyncio.get_running_loop()
  local accepted, over = loop:create_future(), loop:create_future()
  local server <close> = peers.serve(function(reader, writer)
    accepted:set_result(reader, writer)
    asyncio.await(over)
    writer:abort()
  end, opts.far)
  local reader, writer <close> = peers.connect(server, opts.near)
  local peer_reader, peer_writer = asyncio.await(accepted)
  fn(reader, writer, peer_reader, peer_writer)
  writer:abort()
  over:set_result()
end

--- Calls fn(reader, writer, socket): our end of a connection, and a bare socket that never waits long.
function peers.bare(fn, opts)
  local socket = peers.luasocket()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  local reader, writer <close> = asyncio.open_connection("127.0.0.1", tonumber(port), opts)
  local peer = assert(listener:accept())
  listener:close()
  peer:settimeout(5)
  peer:setoption("tcp-nodelay", true)
  fn(reader, writer, peer)
  writer:abort()
  peer:close()
end

--- Closes a bare socket so that the other end is told "reset".
function peers.reset(socket)
  socket:setoption("linger", { on = true, timeout = 0 })
  socket:close()
end

--- Takes at most n bytes out of a bare socket without waiting; what came.
function peers.take(socket, n)
  socket:settimeout(0)
  local data, _, partial = socket:receive(n)
  return data or partial
end

--- Text in which no two stretches look alike: n bytes.
function peers.text(n, seed)
  if n == 0 then return "" end
  local words, length, x = {}, 0, (seed or 1) * 40503 & 0x7fffffff
  while length < n and length < 65536 do
    x = (x * 1103515245 + 12345) & 0x7fffffff
    local word = ("%x."):format(x)
    words[#words + 1], length = word, length + #word
  end
  local block = table.concat(words)
  return block:rep(n // #block + 1):sub(1, n)
end

local function temporary(content)
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write(content or "")
  return name
end

function peers.content(name)
  local file <close> = assert(io.open(name, "rb"))
  return file:read "a"
end

--- A file for the scope: `local file <close> = peers.file("content")`; file.name
function peers.file(content)
  return setmetatable({ name = temporary(content) }, { __close = function(self) os.remove(self.name) end })
end

--- For Python: runs the shell command in a terminal, types "hello", prints what the terminal shows.
peers.TERMINAL = [==[
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", sys.argv[1]])
os.write(fd, b"hello\n")
shown = b""
try:
    while chunk := os.read(fd, 1000):
        shown += chunk
except OSError:
    pass
os.waitpid(pid, 0)
print(shown.decode().replace("\r\n", "\n"), end="")
]==]

--- Runs a shell command in the background; returns a function that awaits its end and returns its
-- output, its errors and its exit status.
function peers.background(command)
  local out, err, status = os.tmpname(), os.tmpname(), os.tmpname()
  local script = temporary(command)
  os.execute(("(timeout -k 5 60 sh '%s' >'%s' 2>'%s' </dev/null; echo $? >'%s') >/dev/null 2>&1 &"):format(
    script, out, err, status))
  return function()
    local code
    t.wait_until(function()
      code = peers.content(status):match "^(%d+)\n"
      return code
    end)
    local output, errors = peers.content(out), t.unhurried(peers.content(err))
    for _, name in ipairs { script, out, err, status } do os.remove(name) end
    return output, errors, tonumber(code)
  end
end

--- The command line that runs a program in Lua; the file is for the scope.
function peers.lua_command(source)
  local file = peers.file(source)
  return (os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4") .. " " .. file.name, file
end

--- Runs a program; `shell` is the command line around %s. What that printed, its errors and its exit status.
function peers.run_in_shell(source, shell)
  local command, file = peers.lua_command(source)
  local errors <close> = peers.file()
  local _ <close> = file
  local script <close> = peers.file((shell or "%s"):gsub("%%s", (command:gsub("%%", "%%%%"))))
  local pipe = io.popen(("timeout -k 5 60 sh '%s' 2>'%s'"):format(script.name, errors.name))
  local output = pipe:read "a"
  local _, _, code = pipe:close()
  return output, t.unhurried(peers.content(errors.name)), code or 0
end

--- Calls fn with the name of a file that isn't there, and a shell command that waits until it is.
function peers.with_signal(fn)
  local name = os.tmpname()
  os.remove(name)
  fn(name, ("until [ -e %s ]; do sleep 0.01; done"):format(name))
  os.remove(name)
end

--- Starts a Lua program that prints its port first; `limit` is a shell command before it.
-- Returns the port, and a function that waits for its end: what else it printed, and its exit status.
-- That blocks: the program has to end by itself.
function peers.program(source, limit)
  local command, file = peers.lua_command(source)
  local pipe = assert(io.popen(("%s timeout -k 5 60 %s 2>&1"):format(limit or "", command)))
  local port = pipe:read "n"
  if not port then t.fail("the program printed no port: " .. pipe:read "a") end
  return port, function()
    local output = t.unhurried(pipe:read "a")
    local _, _, code = pipe:close()
    os.remove(file.name)
    return output, code
  end
end

--- Runs fn(reader, peer, writer) as a test, with a bare socket at the other end that sends `sent` first.
function peers.fed(sent, fn, opts)
  return t.real(function()
    peers.bare(function(reader, writer, peer)
      if sent ~= "" then assert(peer:send(sent)) end
      fn(reader, peer, writer)
    end, opts)
  end)
end

--- The same, and the stream ends after what was sent.
function peers.fed_all(sent, fn, opts)
  return peers.fed(sent, function(reader, peer, writer)
    peer:shutdown "send"
    fn(reader, peer, writer)
  end, opts)
end

return peers
