-- pipeline.lua - three programs; the bytes between the first two never pass through Lua, and nobody runs
-- ahead of who reads: a pipe holds 64 KiB, then its writer stops.
local asyncio = require "asyncio"

asyncio.run(function()
  local numbers <close> = asyncio.create_subprocess_exec("seq", 1, 100000, { stdout = "pipe" })
  local from_numbers = { stdin = numbers.stdout, stdout = "pipe" }
  local sevens <close> = asyncio.create_subprocess_exec("grep", "77", from_numbers)
  local sum <close> = asyncio.create_subprocess_exec("awk", "{ n += $1 } END { print n }",
    { stdin = "pipe", stdout = "pipe" })
  local lines = 0
  for line in sevens.stdout:lines() do -- here we look at what passes
    lines = lines + 1
    sum.stdin:send(line, "\n") -- waits while the last one is slower
  end
  sum.stdin:close()
  print(("%d lines, their sum is %s"):format(lines, (sum.stdout:readline():gsub("\n", ""))))
  print("they ended with", numbers:wait(), sevens:wait(), sum:wait())
end)
