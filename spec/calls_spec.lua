-- Public calls, cancelled at random moments: a sample of what `make random` runs. spec/calls/engine.lua says how.
local t = require "helper"
local asyncio = t.asyncio
local engine = require "calls.engine"

local HERE = arg[0]:match "^(.*)/[^/]*$" or "."
local first = os.time() % 1000000 * 1000

TestCalls = {}

engine.sample(t, TestCalls)

function TestCalls:test_each_room_with_subjects_has_a_spec_file_for_them()
  for room in pairs(engine.rooms()) do
    local file <close> = assert(io.open(("%s/%s/calls_spec.lua"):format(HERE, room)))
    t.assertStrContains(file:read "a", ('engine.sample(t, TestCalls, "%s")'):format(room))
  end
end

function TestCalls:test_what_loses_something_is_found()
  local function lossy(c)
    local queue, got = asyncio.Queue(), 0
    return function()
      for i = 1, 4 do
        queue:put_nowait(i)
        queue:get()
        c.pass() -- here it is in nobody's hands
        got = got + 1
      end
    end, function() assert(got + queue:qsize() == 4, "an item was lost") end
  end
  local ways, err = engine.run({ "lossy", "virtual", lossy }, 200, first)
  t.assertNil(ways)
  t.assertStrContains(err, "an item was lost")
end

function TestCalls:test_a_case_that_is_never_cancelled_is_none()
  local _, why = engine.run({ "deaf", "virtual", function()
    return function() pcall(asyncio.sleep, 1000) end, function() end
  end }, 100, first)
  t.assertStrContains(why or "", "were cancelled")
end

t.finish()
