-- floors.lua NAME N - does one operation N times on the least scheduler (floor.c), for those
-- of operations.lua that it can do: what instructions.lua counts beside ours.
local floor = require "floor"

local await, create_task, sleep, gather = floor.await, floor.create_task, floor.sleep, floor.gather
local create_future, set_result = floor.create_future, floor.set_result
local as_completed, result = floor.as_completed, floor.result

local function one() return 1 end

local floors = {}

floors["sleep(0)"] = function(n) for _ = 1, n do sleep() end end

function floors.spawn(n)
  for _ = 1, n do await(create_task(one)) end
end
floors.spawn_reuse = floors.spawn

function floors.spawn100(n)
  local tasks = {}
  for _ = 1, n // 100 do
    for i = 1, 100 do tasks[i] = create_task(one) end
    for i = 1, 100 do await(tasks[i]) end
  end
end

function floors.gather2(n)
  for _ = 1, n do gather(one, one) end
end

function floors.gather10(n)
  for _ = 1, n do gather(one, one, one, one, one, one, one, one, one, one) end
end
floors.gather10_reuse = floors.gather10
floors.group2, floors.group10, floors.wait10 = floors.gather2, floors.gather10, floors.gather10

function floors.completed10(n)
  for _ = 1, n do
    for task in as_completed(one, one, one, one, one, one, one, one, one, one) do result(task) end
  end
end

function floors.future(n)
  for i = 1, n do
    local future = create_future()
    set_result(future, i)
    await(future)
  end
end

function floors.pingpong(n)
  local ping, pong = create_future(), nil
  local task = create_task(function()
    for i = 1, n do
      await(ping)
      ping = create_future()
      set_result(pong, i)
    end
  end)
  for i = 1, n do
    pong = create_future()
    set_result(ping, i)
    await(pong)
  end
  await(task)
end

local name = arg[1]
if not name then return floors end
floor.run(name:find "_reuse$" ~= nil, floors[name], math.tointeger(arg[2]))
