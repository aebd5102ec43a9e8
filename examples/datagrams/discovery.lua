-- discovery.lua serve NAME PORT [INTERFACE] - lets the others of a local network know that a service is here
-- discovery.lua find NAME [INTERFACE] - asks them all at once, and lists who answers within a second
-- Start one `serve` and one `find` on the same machine, or on two machines of a network. INTERFACE is a name
-- ("eth0") or an address of this machine; without it the system chooses.
local asyncio = require "asyncio"

io.stdout:setvbuf "line"

local GROUP, PORT = "239.255.42.99", 42099 -- 239.255/16 stays in the local network
local PATIENCE = 1

--- Questions go to the group; the answer to who has asked, and to nobody else.
local function serve(name, port, interface)
  local endpoint <close> = asyncio.create_datagram_endpoint {
    local_addr = { host = GROUP, port = PORT }, -- bound to the group: nothing else is heard
    reuse_address = true,                       -- other services of this machine want the same port
  }
  endpoint:join_group(GROUP, interface)
  print(("Serving %s, port %d"):format(name, port))
  for question, address in endpoint:iter() do
    if question == "who has " .. name then
      asyncio.pcall(endpoint.send, endpoint, ("%s: port %d"):format(name, port), address)
    end
  end
end

local function collect(endpoint, name, found)
  for answer, address in endpoint:iter() do
    local port = answer:match("^" .. name:gsub("%p", "%%%0") .. ": port (%d+)$")
    local place = port and address.host .. ":" .. port
    if place and not found[place] then -- the question may have come twice
      found[place] = true
      print(place)
    end
  end
end

local function find(name, interface)
  local endpoint <close> = asyncio.create_datagram_endpoint {
    family = "inet", multicast_interface = interface, multicast_ttl = 1, -- 1: no router passes it on
  }
  endpoint:send("who has " .. name, { host = GROUP, port = PORT })
  local found = {}
  asyncio.move_on_after(PATIENCE, collect, endpoint, name, found)
  if not next(found) then print "Nobody has answered." end
end

local what, name, port = arg[1], arg[2], math.tointeger(tonumber(arg[3]))
local main = what == "serve" and port and { serve, name, port, arg[4] }
  or what == "find" and name and { find, name, arg[3] }
if not main then
  io.stderr:write "usage: discovery.lua serve NAME PORT [INTERFACE] | find NAME [INTERFACE]\n"
  os.exit(2, true)
end
local ok, err = pcall(asyncio.run, table.unpack(main, 1, 4))
if ok or asyncio.isinstance(err, asyncio.KeyboardInterrupt) then return end
io.stderr:write("discovery.lua: ", tostring(err), "\n")
os.exit(1, true)
