-- Seen in a soak: a worker whose jobs are functions that make nothing never collected what had been sent, since
-- lua_load lets the collector do nothing.
local t = require "helper"
local asyncio = t.asyncio

TestWorkerMemory = {}

function TestWorkerMemory:test_functions_that_were_sent_are_collected()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local loop = asyncio.get_running_loop()
    local function used() return asyncio.await(loop:run_in_executor(pool, collectgarbage, "count")) end
    local before, jobs = used(), t.count(6000)
    for _ = 1, jobs do
      asyncio.await(loop:run_in_executor(pool, function(n) return n end, 1)) -- another one each time
    end
    t.assertTrue(used() < before + 300, used()) -- 1,100 KB more, it was
  end)
end

t.finish()
