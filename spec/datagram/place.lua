--- place.lua - what the specs of datagrams share.
local asyncio = require "asyncio"

local place = {}

--- An endpoint at a free port of this machine; its address.
function place.open(opts)
  opts = opts or {}
  opts.local_addr = opts.local_addr or { host = "127.0.0.1", port = 0 }
  local endpoint = asyncio.create_datagram_endpoint(opts)
  return endpoint, endpoint:get_extra_info "sockname"
end

--- One that is connected to that address.
function place.connected(address)
  return asyncio.create_datagram_endpoint { remote_addr = { host = address.host, port = address.port } }
end

--- An address where nobody is; nor a client that got the port which was free again: those have another host.
function place.dead()
  local endpoint, address = place.open { local_addr = { host = "127.0.0.2", port = 0 } }
  endpoint:close()
  return address
end

--- A path for a unix socket that goes with its block.
function place.path()
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute(("mkdir '%s'"):format(folder)))
  return setmetatable({ path = folder .. "/socket" }, {
    __close = function() os.execute(("rm -rf '%s'"):format(folder)) end,
  })
end

--- Waits until `done()` says so.
function place.until_(done)
  for _ = 1, 5000 do
    if done() then return end
    asyncio.sleep(0.001)
  end
  error("it never came", 2)
end

--- Sends so many, which have all come into the kernel when this returns.
function place.fill(endpoint, n, address, text)
  for i = 1, n do endpoint:send(text or tostring(i), address) end
end

return place
