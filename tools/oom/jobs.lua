-- jobs.lua - what a Redis answers to an executor of asyncio.distributed, for scenario.lua and finalisers.lua: each job
-- has ended as soon as it is stored. Returns what makes a function for the commands of one such Redis.
local asyncio = require "asyncio"

--- How a job ends here; of two in a batch the second fails.
local function distributed_end(id, i)
  local what = i % 2 == 1 and "d\x92\1\x91\1" or "f\x95\1\xc0\xa3why\xa3why\xc0"
  return ("$%d\r\n%s\r\n$%d\r\n%s\r\n"):format(#id, id, #what, what)
end

--- What scripts of asyncio.distributed answer here. ends: of jobs, in the order in which they came; each is kept
local DISTRIBUTED = {
  probe = function(command, ends)
    local found, n = "", 0
    for i = 8, #command do
      if ends[command[i]] then found, n = found .. ends[command[i]], n + 2 end
    end
    return ("*2\r\n$0\r\n\r\n*%d\r\n%s"):format(n, found)
  end,
  cancel = function() return "$9\r\ncancelled\r\n" end,
  stats = function() return "*8\r\n" .. (":1\r\n"):rep(8) end,
  submit = function(command, ends)
    local n = (#command - 6) // 6
    for i = 1, n do
      local id = command[6 * i + 1]
      ends[id] = ends[id] or distributed_end(id, i)
      ends[#ends + 1] = ends[id]
    end
    return ("*%d\r\n%s"):format(n, ("+ok\r\n"):rep(n))
  end,
}

--- The ends behind the one whose number is told.
local function read_ends(command, ends)
  local from = tonumber(command[#command]:match "^%d+") + 1
  for _ = 1, 20 do
    if ends[from] then break end
    asyncio.sleep(0.001)
  end
  if not ends[from] then return "*-1\r\n" end
  local entries = {}
  for i = from, #ends do entries[#entries + 1] = ("*2\r\n+%d-0\r\n*2\r\n%s"):format(i, ends[i]) end
  return ("*1\r\n*2\r\n+key\r\n*%d\r\n%s"):format(#entries, table.concat(entries))
end

local function answer_distributed(command, ends)
  if command[1] == "EVALSHA" then return DISTRIBUTED[command[2]](command, ends) end
  if command[1] == "XREAD" then return read_ends(command, ends) end
  if command[1] == "SCRIPT" then
    for name, text in pairs(require "asyncio.distributed.scripts") do
      if text == command[3] then return "+" .. name .. "\r\n" end
    end
  end
  return "+OK\r\n"
end

return function()
  local ends = {}
  return function(command) return answer_distributed(command, ends) end
end
