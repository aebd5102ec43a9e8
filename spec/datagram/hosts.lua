-- hosts.lua - networks of several hosts, for specs: network namespaces, joined by bridges. They need root and iproute2;
-- without, the test is skipped. A host is a process that waits for the end of its input, so that nothing outlives the
-- spec, however it ends. Hosts and networks are said first; the first use of one builds them all.
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
  self.scene:settle()
  script = select("#", ...) > 0 and script:format(...) or script
  local output, status = program.shell("exec %s sh -c '%s' 2>&1", self.enter, script:gsub("'", [['\'']]))
  t.assertEquals(status, 0, script .. ": " .. output)
  return output
end

--- Gives this host an interface in that network, with these addresses ("10.1.0.1/24").
function Host:join(network, interface, ...)
  local cable = { network = network, interface = interface, addresses = { ... } }
  network.ends = network.ends + 1
  cable.far = "end" .. network.ends
  self.cables[#self.cables + 1] = cable
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
function Host:program(format, ...)
  self.scene:settle()
  return program.start("%s %s", self.enter, format:format(...))
end

--- The same to its end: what it prints, complaints too. It has to succeed.
function Host:run(body, ...)
  local running <close> = self:start(body, ...)
  local output, status = running:wait()
  t.assertEquals(status, 0, output)
  return output
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
  local host = setmetatable({ scene = self, files = {}, cables = {} }, Host)
  self[#self + 1] = host
  return host
end

--- A cable with many ends: hosts join it.
function Scene:network()
  local network = self:host()
  network.ends = 0
  return network
end

-- All is built at once when it is first used, by few processes: each costs its time on a busy machine.

--- Starts a process in a namespace for each host, which waits for the end of the scene's input. A host would send a few
-- ICMP errors a second only, and the next not at all; no kind is limited. (With a limit of 0 Linux forgets, when a tick
-- has passed, what a router may send to that peer, and then sends none.)
local function start_hosts(scene)
  local start = program.file_with(([[
    exec 3<&0
    unlimited="echo 0 >/proc/sys/net/ipv4/icmp_ratemask; echo >/proc/sys/net/ipv6/icmp/ratemask"
    for i in $(seq %d); do
      unshare -n sh -c "$unlimited; echo host $i \$\$; exec cat" <&3 &
    done
    exec cat]]):format(#scene))
  scene.holder = program.start("sh %s", start)
  for i, host in ipairs(scene) do
    scene.holder.at = 1 -- they come in any order
    host.pid = scene.holder:expect(("host %d (%%d+)\n"):format(i))
    host.enter = ("nsenter -t %d -n --"):format(host.pid)
  end
  os.remove(start)
end

local SYSTEM = [[
cd /proc/sys/net/ipv6/conf 2>/dev/null &&
  for f in all default; do echo 0 >$f/accept_dad; echo 0 >$f/dad_transmits; done # addresses hold at once
ip -batch - <<'END'
link set lo up
]]

--- What ip has to do on a host, after all networks are there.
local function commands_of(host)
  local list = { SYSTEM }
  if host.ends then
    list[2] = "link add net type bridge mcast_snooping 0\nlink set net up\n"
  end
  for _, cable in ipairs(host.cables) do
    local here = cable.interface
    list[#list + 1] = ("link add %s type veth peer name %s netns %d\n"):format(here, cable.far, cable.network.pid)
    for _, address in ipairs(cable.addresses) do
      list[#list + 1] = ("address add %s dev %s%s\n"):format(address, here, address:find ":" and " nodad" or "")
    end
    list[#list + 1] = ("link set %s up\n"):format(here)
  end
  return table.concat(list) .. "END\n"
end

local function plugged_in(network)
  local list = { "ip -batch - <<'END' || exit\n" }
  for i = 1, network.ends do list[#list + 1] = ("link set end%d master net up\n"):format(i) end
  return table.concat(list) .. "END\n"
end

--- The kernel notices a moment later that a cable is plugged in, at both ends.
local PATIENTLY = [[
count=0; until [ $(%s) = %d ]; do count=$((count + 1)); [ $count = 1500 ] && exit 1; sleep 0.02; done
]]

local function noticed(host)
  return host.ends and PATIENTLY:format("bridge link | grep -c forwarding", host.ends)
    or PATIENTLY:format("ip -6 -o address show scope link -tentative | wc -l", #host.cables)
end

--- One script for all hosts, networks first.
local function script_of(scene)
  local list = {}
  local function add(host, script)
    list[#list + 1] = ("%s sh -e <<'HOST' || exit\n%sHOST\n"):format(host.enter, script)
  end
  local function each(networks, script)
    for _, host in ipairs(scene) do
      if (host.ends ~= nil) == networks then add(host, script(host)) end
    end
  end
  each(true, commands_of)
  each(false, commands_of)
  each(true, plugged_in)
  each(true, noticed)
  each(false, noticed)
  return table.concat(list)
end

--- Builds what there is, once.
function Scene:settle()
  if self.holder then return end
  start_hosts(self)
  local script = program.file_with(script_of(self))
  local output, status = program.shell("sh %s 2>&1", script)
  os.remove(script)
  t.assertEquals(status, 0, output)
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
  end
  if self.holder then self.holder:__close() end
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
