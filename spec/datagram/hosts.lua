-- hosts.lua - networks of several hosts, for specs: network namespaces, joined by bridges. They need root and iproute2;
-- without, the test is skipped. A host is a process that waits for the end of its input, so that nothing outlives the
-- spec, however it ends.
local t = require "helper"
local program = require "program"

local hosts = {}

local CAN = "unshare -n true && command -v ip && command -v nsenter"
local can

--- Skips the test where there can be no hosts.
function hosts.need()
  if can == nil then can = os.execute("{ " .. CAN .. "; } >/dev/null 2>&1") or false end
  if not can then t.skip "no network namespaces: they need root, and iproute2" end
end

local Host = {}
Host.__index = Host

--- What a shell script prints on this host; it has to succeed.
function Host:sh(script, ...)
  script = select("#", ...) > 0 and script:format(...) or script
  local output, status = program.shell("%s sh -c '%s' 2>&1", self.enter, script:gsub("'", [['\'']]))
  t.assertEquals(status, 0, script .. ": " .. output)
  return output
end

local PATIENTLY = "for i in $(seq 1500); do %s && exit; sleep 0.02; done; exit 1"

--- Gives this host an interface in that network, with these addresses ("10.1.0.1/24").
function Host:join(network, interface, ...)
  network.ends = network.ends + 1
  local far, script = "end" .. network.ends, {}
  for i, address in ipairs { ... } do
    script[i] = ("ip address add %s dev %s%s"):format(address, interface, address:find ":" and " nodad" or "")
  end
  self:sh("set -e; ip link add %s type veth peer name %s netns %d; %s; ip link set %s up", interface, far,
    network.holder.pid, script[1] and table.concat(script, "; ") or "true", interface)
  -- the kernel notices a moment later that the cable is plugged in, at both ends
  network:sh("ip link set %s master net up; " .. PATIENTLY, far,
    "bridge link show dev " .. far .. " | grep -q forwarding")
  self:sh(PATIENTLY, "ip -6 address show dev " .. interface .. " scope link -tentative | grep -q inet6")
end

--- Runs a function's body in a loop on this host, as a program that prints; `...` are its arguments. Its end is awaited
-- elsewhere: a Program.
function Host:start(body, ...)
  local name = program.file_with(([[
    local asyncio = require "asyncio"
    io.stdout:setvbuf "line"
    asyncio.run(function(...) %s
    end, ...)
  ]]):format(body))
  self.files[#self.files + 1] = name
  return self:program("%s %s %s", program.lua, name, table.concat({ ... }, " "))
end

--- The number of an interface.
function Host:index(interface) return math.tointeger(self:sh("ip -o link show dev %s", interface):match "^%d+") end

--- The address that an interface gave itself, which holds only there.
function Host:link_local(interface)
  return self:sh("ip -6 -o address show dev %s scope link", interface):match "inet6 (%S+)/64"
end

--- Any program on this host.
function Host:program(format, ...) return program.start("%s %s", self.enter, format:format(...)) end

--- The same to its end: what it prints, complaints too. It has to succeed.
function Host:run(body, ...)
  local running <close> = self:start(body, ...)
  local from = running.at
  local status = running:expect "%[status (%d+)%]\n"
  local output = program.content(running.out):sub(from):gsub("%[status.*", "")
  t.assertEquals(status, "0", output)
  return t.unhurried(output)
end

--- What a test is played on. It closes all its hosts.
local Scene = {}
Scene.__index = Scene

function hosts.scene()
  hosts.need()
  return setmetatable({}, Scene)
end

--- A host without a network; its own loopback is up.
function Scene:host()
  local host = setmetatable({ files = {} }, Host)
  host.holder = program.start "unshare -n cat"
  self[#self + 1] = host
  host.holder:type "there" -- comes back when it is in a namespace of its own
  host.holder:expect "there\n"
  host.enter = ("nsenter -t %d -n --"):format(host.holder.pid)
  host:sh [[
    cd /proc/sys/net/ipv6/conf 2>/dev/null &&
      for f in all default; do echo 0 >$f/accept_dad; echo 0 >$f/dad_transmits; done # addresses hold at once
    echo 0 >/proc/sys/net/ipv4/icmp_ratelimit # every error is sent
    ip link set lo up]]
  return host
end

--- A cable with many ends: hosts join it.
function Scene:network()
  local network = self:host()
  network.ends = 0
  network:sh "ip link add net type bridge mcast_snooping 0 && ip link set net up"
  return network
end

--- n hosts in a network: the i-th has 10.1.0.i and fd01::i at "eth0".
function Scene:lan(n)
  local network, list = self:network(), {}
  for i = 1, n do
    list[i] = self:host()
    list[i]:join(network, "eth0", ("10.1.0.%d/24"):format(i), ("fd01::%d/64"):format(i))
  end
  return table.unpack(list)
end

function Scene:__close()
  for _, host in ipairs(self) do
    for _, name in ipairs(host.files) do os.remove(name) end
    host.holder:__close()
  end
end

--- Prints what comes to its port; argument: the address to bind to.
hosts.LISTEN = [[
  local e <close> = asyncio.create_datagram_endpoint { local_addr = { host = ... or "0.0.0.0", port = 5000 } }
  print "ready"
  for data, address in e:iter() do print(data, address.host) end]]

--- Sends a text to port 5000; arguments: where to, the text, how multicast leaves.
hosts.TELL = [[
  local group, text, interface = ...
  local e <close> = asyncio.create_datagram_endpoint {
    family = group:find ":" and "inet6" or "inet", multicast_interface = interface }
  e:send(text, { host = group, port = 5000 })]]

--- Starts one that says when it is ready.
function hosts.ready(host, body, ...)
  local running = host:start(body, ...)
  running:expect "^ready\n"
  return running
end

return hosts
