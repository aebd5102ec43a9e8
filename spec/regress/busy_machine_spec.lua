-- A step is slow by its own doing: what waits for a processor on a busy machine isn't.
local t = require "helper"

TestBusyMachine = {}

local file = io.open "/proc/thread-self/schedstat"
if not file then TestBusyMachine = nil else file:close() end
local BUSY = 2 -- others for each processor

--- What a program writes to stderr while others keep all processors busy.
local function errors_beside_others(body)
  local _, _, code, _, errors = t.lua(([[
    local others = io.popen("for i in $(seq $((%d * $(nproc)))); do (while :; do :; done) & pids=\"$pids $!\"; done; "
      .. "read line; kill $pids", "w")
    local asyncio = require "asyncio"
    asyncio.run(function()
      local function compute(seconds)
        local till = os.clock() + seconds
        while os.clock() < till do end
      end
      for _ = 1, 3 do
        %s
        asyncio.sleep(0)
      end
    end)
    others:write "end\n"
    others:close()
  ]]):format(BUSY, body))
  t.assertEquals(code, 0)
  return errors
end

if TestBusyMachine then
  function TestBusyMachine:test_a_step_that_waited_for_a_processor_is_not_reported()
    t.assertNotStrContains(errors_beside_others "compute(0.05)", "held the loop")
  end

  function TestBusyMachine:test_one_that_computed_for_long_is_with_both_times()
    local errors = errors_beside_others "compute(0.15)"
    t.assertStrMatches(errors, ".*a task held the loop for %d%.%d+ s, %d%.%d+ s of it waiting for a processor.*")
  end

  function TestBusyMachine:test_one_that_blocked_is()
    t.assertStrContains(errors_beside_others [[os.execute "sleep 0.2"]], "held the loop")
  end
end

t.finish()
