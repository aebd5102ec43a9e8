-- The virtual clock went to sleep on a timer that was set by the very poll that had found nothing to run: what a chore
-- brings sets a debounced watch's timer, and wakes nobody.
local lu = require "luaunit"

local asyncio = require "asyncio"
local t = require "helper"

local fs = asyncio.fs

TestVirtualTimer = {}

--- `delay`: when, after the poll that hears of the file, the loop polls again with nothing to run.
local function hear_of_one(delay)
  local folder = fs.mkdtemp()
  local watch <close> = fs.watch(folder, { debounce = 0.5 })
  assert(io.open(folder .. "/a", "w")):close()
  delay()
  local event = watch()
  fs.remove_tree(folder)
  lu.assertEquals(event.kind, "created")
end

function TestVirtualTimer:test_a_timer_that_a_poll_has_set_is_waited_for()
  t.run(function()
    local start = asyncio.time()
    for i = 1, t.count(300) do
      hear_of_one(function()
        asyncio.sleep(0)
        for _ = 1, i % 40 * 100 do end
      end)
    end
    for _ = 1, t.count(30) do hear_of_one(function() os.execute "sleep 0.003" end) end
    lu.assertAlmostEquals(asyncio.time() - start, (t.count(300) + t.count(30)) * 0.5, 0.01)
  end)
end

t.finish()
