-- Datagram endpoints under a stranger's code, which an address, or a finaliser, may run in the middle of a call.
local t = require "helper"
local asyncio = t.asyncio

TestDatagramsOfAStranger = {}

-- A string of its own each time, which nobody else holds.
local function text(letter, n) return letter:rep(n) .. tostring({}) end

function TestDatagramsOfAStranger:test_an_address_that_takes_an_earlier_datagram_out_of_the_list_does_not_change_what_is_sent()
  t.real(function()
    local endpoint <close> = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.1", port = 0 } }
    local here = endpoint:get_extra_info "sockname"
    local list = { { text("q", 900), here }, { "two", {} } }
    local filler = {}
    setmetatable(list[2][2], {
      __index = function(_, key)
        list[1] = false
        collectgarbage()
        for i = 1, 100 do filler[i] = text("z", 850 + i) end
        return here[key]
      end,
    })
    t.assertEquals(endpoint:send_many(list), 2)
    t.assertEquals(endpoint:receive():sub(1, 900), ("q"):rep(900))
    t.assertEquals(#filler, 100)
    t.assertEquals((endpoint:receive()), "two")
  end)
end

t.finish()
