-- Datagrams with programs that are not ours: socat, Python, the C library's resolver.
local t = require "helper"
local hosts = require "datagram.hosts"
local peers = require "peers"
local place = require "files.place"
local program = require "program"
local asyncio = t.asyncio

TestSocat = {}
TestPython = {}
TestUnix = {}
TestResolver = {}

local function echo(endpoint)
  return asyncio.create_task(function()
    for data, address in endpoint:iter() do endpoint:send(data:upper(), address) end
  end)
end

local function listen(opts)
  opts = opts or {}
  opts.local_addr = opts.local_addr or { host = "127.0.0.1", port = 0 }
  return asyncio.create_datagram_endpoint(opts)
end

--- What a shell script prints, while our tasks run.
local function shell(script, ...)
  local result = asyncio.run_process(script, { args = { ... }, capture = true, timeout = program.PATIENCE })
  return result.stdout
end

function TestSocat:test_gets_an_answer()
  peers.need "socat"
  t.real(function()
    local e <close> = listen()
    local _ <close> = echo(e)
    local port = e:get_extra_info "sockname".port
    t.assertEquals(shell('printf hello | socat -t 30 - "UDP4:127.0.0.1:$1,shut-none,readbytes=5"', port), "HELLO")
  end)
end

function TestSocat:test_gives_an_answer()
  peers.need "socat"
  t.real(function()
    local free = listen()
    local address = free:get_extra_info "sockname"
    free:close()
    local socat <close> = asyncio.create_subprocess_exec("socat", "-d", "-d",
      ("UDP4-RECVFROM:%d,bind=127.0.0.1,fork"):format(address.port), "PIPE", { stderr = "pipe" })
    repeat local line = socat.stderr:readline() until line:find "receiving on AF=2"
    local e <close> = asyncio.create_datagram_endpoint { remote_addr = address }
    for i = 1, 5 do
      e:send("line " .. i)
      t.assertEquals(e:receive(), "line " .. i)
    end
  end)
end

local PYTHON = [[
import asyncio, sys

class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        print(transport.get_extra_info("sockname")[1], flush=True)
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data[::-1], addr)

async def main():
    await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=(sys.argv[1], 0))
    await asyncio.sleep(60)

asyncio.run(main())
]]

function TestPython:test_echoes_each_datagram_once_and_whole()
  program.needs_python()
  t.real(function()
    for _, host in ipairs { "127.0.0.1", "::1" } do
      local python <close> = asyncio.create_subprocess_exec("python3", "-c", PYTHON, host, { stdout = "pipe" })
      local port = math.tointeger(python.stdout:readline():match "%d+")
      local e <close> = asyncio.create_datagram_endpoint { family = host == "::1" and "inet6" or "inet" }
      for n = 1, 9000, 999 do
        local data = peers.text(n)
        e:send(data, { host = host, port = port })
        local back, address = e:receive()
        t.assertTrue(back == data:reverse())
        t.assertEquals({ address.host, address.port }, { host, port })
      end
    end
  end)
end

local PYTHON_BLOCKS = [[
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.connect(("127.0.0.1", int(sys.argv[1])))
for data in (b"", b"x", b"\0\n", b"y" * 60000, b""):
    s.send(data)
    assert s.recv(65536) == data.upper(), data
print("fine")
]]

function TestPython:test_sends_empty_ones_and_large_ones()
  program.needs_python()
  t.real(function()
    local e <close> = listen()
    local _ <close> = echo(e)
    t.assertEquals(shell('python3 -c "$1" "$2"', PYTHON_BLOCKS, e:get_extra_info "sockname".port), "fine\n")
    t.assertEquals(e:stats().received, 5)
  end)
end

-- unix sockets

function TestUnix:test_socat_sends_with_a_name_and_without()
  peers.need "socat"
  local folder, gone = place.new()
  local _ <close> = gone
  t.real(function()
    local path = folder .. "/ours"
    local e <close> = asyncio.create_datagram_endpoint { path = path }
    shell('printf nameless | socat -u - "UNIX-SENDTO:$1"', path)
    local data, address = e:receive()
    t.assertEquals({ data, address.family, address.path }, { "nameless", "unix", "" })
    shell('printf named | socat -u - "UNIX-SENDTO:$1,bind=$2"', path, folder .. "/theirs")
    data, address = e:receive()
    t.assertEquals({ data, address.path }, { "named", folder .. "/theirs" })
  end)
  t.assertEquals(place.run("test ! -e", folder .. "/ours"), true)
end

function TestUnix:test_python_talks_to_an_abstract_name()
  program.needs_python()
  local path = os.tmpname()
  os.remove(path)
  local name = "\0asyncio-spec-" .. path:match "[^/]+$"
  t.real(function()
    local e <close> = asyncio.create_datagram_endpoint { path = name }
    local _ <close> = echo(e)
    t.assertEquals(shell('python3 -c "$1" "$2"', [[
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.settimeout(10)
s.bind("") # the kernel finds an abstract name
s.sendto(b"hello", "\0" + sys.argv[1])
print(s.recv(100).decode())
]], name:sub(2)), "HELLO\n")
  end)
end

-- the example's server, and who asks for names on every machine

function TestResolver:test_the_c_library_finds_the_examples_names()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local server <close> = b:program("%s %sdatagrams/dns.lua --serve 10.1.0.2 53", program.lua, program.examples)
  server:expect "Listening on 10.1.0.2:53\n"
  local conf = program.file_with "nameserver 10.1.0.2\noptions timeout:5\n"
  local names = program.file_with "hosts: dns\n"
  local output = a:sh([[
    unshare -m sh -c "mount --bind %s /etc/resolv.conf && mount --bind %s /etc/nsswitch.conf &&
      getent ahostsv4 two.example; getent ahostsv6 one.example; getent ahosts three.example; echo \$?"]], conf, names)
  os.remove(conf)
  os.remove(names)
  t.assertStrContains(output, "192.0.2.2")
  t.assertStrContains(output, "192.0.2.3")
  t.assertStrContains(output, "2001:db8::1")
  t.assertStrMatches(output, ".*\n2\n") -- no such name
end

t.finish()
