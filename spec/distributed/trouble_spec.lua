-- Workers that are killed, stopped and sent away, a Redis that dies, a network that swallows and cuts, clocks that
-- jump: some seconds of it. `make chaos` does so for longer.
local t = require "helper"
local trouble = require "distributed.trouble"

TestChaos = {}

function TestChaos:test_each_job_has_one_end_whatever_happens()
  if t.slow then t.skip "times are real" end
  math.randomseed(os.time())
  t.real(function()
    local told = trouble.run { seconds = 4, workers = 3, rate = 0.004, most = 20, patience = 30 }
    t.assertEquals(told.faults, {})
    t.assertTrue(told.submitted > 0)
  end)
end

t.finish()
