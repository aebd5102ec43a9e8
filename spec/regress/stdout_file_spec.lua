-- stdout_file_spec.lua - asyncio.stdout() when the process's stdout is a file.
local t = require "helper"

TestStdoutFile = {}

-- The output went through a thread of its own, for which the end of the process did not wait.
function TestStdoutFile:test_holds_all_that_was_drained_when_the_process_has_ended()
  for _ = 1, t.count(20) do -- it was a race
    local out, err, code, how = t.lua [[
      local asyncio = require "asyncio"
      asyncio.run(function()
        local writer = asyncio.stdout()
        writer:write(("x"):rep(60000))
        writer:drain()
      end)
    ]]
    t.assertEquals({ how, code, err, #out }, { "exit", 0, "", 60000 })
  end
end

-- What was never drained was lost the same way, more than a pipe holds as well as a line.
function TestStdoutFile:test_holds_all_that_was_written_when_the_process_has_ended()
  for _, size in ipairs { 6, 1000000 } do
    local out, err, code, how = t.lua(([[
      local asyncio = require "asyncio"
      asyncio.run(function() asyncio.stdout():write(("x"):rep(%d)) end)
    ]]):format(size))
    t.assertEquals({ how, code, err, #out }, { "exit", 0, "", size })
  end
end

-- A file that is opened anew to be written directly must not be written over from its beginning.
function TestStdoutFile:test_goes_on_behind_what_the_file_holds()
  local out, err, code, how = t.lua [[
    local asyncio = require "asyncio"
    io.stdout:write "first\n"
    io.stdout:flush()
    asyncio.run(function() asyncio.stdout():write "second\n" end)
    io.stdout:write "third\n"
  ]]
  t.assertEquals({ how, code, out, err }, { "exit", 0, "first\nsecond\nthird\n", "" })
end

t.finish()
