-- The examples of processes, as people run them.
local t = require "helper"
local program = require "program"

TestExamples = {}

local function run(name, format, ...)
  return program.shell("timeout 60 %s %sprocesses/%s.lua " .. (format or "") .. " 2>/dev/null", program.lua,
    program.examples, name, ...)
end

function TestExamples:test_the_pool_runs_all()
  t.assertEquals(run "pool", "18 ended well, 2 failed: 7 17\n")
end

function TestExamples:test_the_pipeline_carries_all()
  t.assertEquals(run "pipeline", "3691 lines, their sum is 211772907\nthey ended with\t0\t0\t0\n")
end

function TestExamples:test_the_supervisor_starts_again_what_ends()
  local out = run "supervisor"
  t.assertEquals(select(2, out:gsub("started", "")), 4)
  t.assertEquals(select(2, out:gsub("ended with 1", "")), 2)
end

function TestExamples:test_the_supervisor_ends_what_runs()
  local script = program.file_with "#!/bin/sh\necho $$\nsleep 60 &\nwait\n"
  os.execute("chmod +x " .. script)
  local running <close> = program.start("%s %sprocesses/supervisor.lua %s", program.lua, program.examples, script)
  local pid = running:expect "%f[%w](%d+)\n"
  running:interrupt()
  os.remove(script)
  for _ = 1, program.PATIENCE * 50 do -- it has ended, but may not have been reaped by init
    local file <close> = io.open("/proc/" .. pid .. "/stat")
    if not file or (file:read "a" or ""):find "%) Z" then return end
    os.execute "sleep 0.02"
  end
  t.fail "it runs on"
end

t.finish { sampled = true }
