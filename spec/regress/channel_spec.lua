-- channel_spec.lua - channels that lie in channels.
local t = require "helper"
local asyncio = t.asyncio

TestNestedChannels = {}

-- Each was destroyed by the one that held it: the stack was too small for 300,000.
function TestNestedChannels:test_a_long_chain_of_them_is_freed()
  local out, err, code, how = t.lua(([[
    local asyncio = require "asyncio"
    local outermost = asyncio.Channel()
    for _ = 1, %d do
      local channel = asyncio.Channel()
      channel:put_nowait(outermost)
      outermost = channel
    end
    for _ = 1, 2 do collectgarbage() end
    outermost = nil
    for _ = 1, 2 do collectgarbage() end
    print "freed"
  ]]):format(t.count(300000)))
  t.assertEquals({ out, err, how, code }, { "freed\n", "", "exit", 0 })
end

function TestNestedChannels:test_of_which_one_is_closed_at_once_is_empty()
  t.run(function()
    local one, other = asyncio.Channel(), asyncio.Channel(1)
    one:put(other)
    other:put(one)
    local putter = asyncio.create_task(function() return pcall(other.put, other, 1) end)
    asyncio.sleep(0)
    other:close(true)
    t.assertEquals(other:qsize(), 0)
    t.assert_raises(asyncio.ClosedError, other.get, other)
    t.assertFalse(asyncio.await(putter))
    t.assertEquals(one:get(), other)
  end)
end

function TestNestedChannels:test_closed_first_can_be_emptied_later()
  t.run(function()
    local channel = asyncio.Channel()
    channel:put(channel)
    channel:close()
    t.assertEquals(channel:qsize(), 1)
    channel:close(true)
    t.assertEquals(channel:qsize(), 0)
    t.assertEquals(asyncio.Channel():qsize(), 0)
  end)
end

t.finish()
