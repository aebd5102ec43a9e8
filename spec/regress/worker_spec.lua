-- worker_spec.lua - what a worker's state is given, and what one job left there for the next.
local t = require "helper"
local asyncio = t.asyncio
local await, to_thread = asyncio.await, asyncio.to_thread

TestWorkerRandom = {}

-- Lua seeds a state by the second and by its address, which is that of a worker that has ended: 8 of 10 were the same.
function TestWorkerRandom:test_numbers_of_workers_made_one_after_the_other_differ()
  t.real(function()
    local seen = {}
    for _ = 1, 20 do
      local pool <close> = asyncio.ThreadPoolExecutor(1)
      local token = await(pool:submit(function() return math.random(0) end))
      t.assertNil(seen[token])
      seen[token] = true
    end
  end)
end

function TestWorkerRandom:test_who_seeds_them_gets_the_same()
  t.real(function()
    local seen = {}
    for i = 1, 2 do
      local pool <close> = asyncio.ThreadPoolExecutor {
        max_workers = 1,
        initializer = function() math.randomseed(42) end,
      }
      seen[i] = await(pool:submit(function() return math.random(0) end))
    end
    t.assertEquals(seen[1], seen[2])
  end)
end

TestWorkerPaths = {}

--- Calls fn with the paths, then puts them back.
local function with_paths(fn)
  t.real(function()
    local path, cpath, args = package.path, package.cpath, arg
    local ok, err = pcall(fn, path, cpath)
    package.path, package.cpath, package.preload["spec.late"] = path, cpath, nil
    _G.arg = args
    if not ok then error(err, 0) end
  end)
end

local function paths() return package.path, package.cpath, arg and arg[1] end

function TestWorkerPaths:test_of_to_thread_are_those_that_the_script_has_now()
  with_paths(function(path, cpath)
    to_thread(paths) -- warm
    for i = 1, 3 do
      package.path, package.cpath = path .. ";/late/?.lua" .. i, cpath .. ";/late/?.so" .. i
      _G.arg = { "argument " .. i }
      t.assertEquals({ to_thread(paths) }, { package.path, package.cpath, "argument " .. i })
    end
  end)
end

function TestWorkerPaths:test_of_all_workers_that_to_thread_has()
  with_paths(function(path)
    local function busy(seconds)
      asyncio.blocking_sleep(seconds)
      return package.path
    end
    asyncio.gather(function() to_thread(busy, 0.05) end, function() to_thread(busy, 0.05) end)
    package.path = path .. ";/late/?.lua"
    local found = { asyncio.gather(
      function() return to_thread(busy, 0.05) end, function() return to_thread(busy, 0.05) end) }
    t.assertEquals(found, { package.path, package.path })
  end)
end

function TestWorkerPaths:test_a_module_that_is_preloaded_later_is_found()
  with_paths(function()
    local function load() return (select(2, pcall(require, "spec.late"))) end
    for _ = 1, 4 do t.assertStrContains(to_thread(load), "not found") end
    package.preload["spec.late"] = function() return "the plugin" end
    t.assertEquals(to_thread(load), "the plugin")
  end)
end

function TestWorkerPaths:test_of_a_pool_stay_as_they_were_when_it_was_made()
  with_paths(function(path)
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    package.path = path .. ";/late/?.lua"
    t.assertEquals((await(pool:submit(paths))), path)
    asyncio.get_running_loop():set_default_executor(pool)
    t.assertEquals((to_thread(paths)), path)
  end)
end

function TestWorkerPaths:test_that_a_job_has_set_stay()
  with_paths(function(path, cpath)
    to_thread(function() package.path, package.preload.mine = "/own/?.lua", print end)
    package.path, package.cpath = path .. ";/late/?.lua", cpath .. ";/late/?.so"
    package.preload["spec.late"] = print
    t.assertEquals({ to_thread(paths) }, { "/own/?.lua", package.cpath, arg[1] })
    t.assertTrue(to_thread(function() return package.preload.mine == print end))
  end)
end

function TestWorkerPaths:test_of_a_state_without_the_libraries_do_no_harm()
  with_paths(function(path)
    local function take_away()
      io, os, math, debug, package, require = nil -- luacheck: ignore
    end
    to_thread(take_away)
    package.path = path .. ";/late/?.lua"
    t.assertEquals(to_thread(function() return package end), nil)
    local pool <close> = asyncio.ThreadPoolExecutor { max_workers = 1, initializer = take_away }
    t.assertEquals(await(pool:submit(function() return io end)), nil)
  end)
end

TestWorkerLeavings = {}

--- Each case: what a job does, and what the next one must not notice of it.
local cases = {
  hook = {
    function() debug.sethook(function() error "a hook that was left" end, "", 1) end,
    function() return debug.gethook() == nil end,
  },
  ["hook of a job that fails"] = {
    function()
      debug.sethook(function() error "a hook that was left" end, "", 50)
      while true do end -- luacheck: ignore
    end,
    function() return debug.gethook() == nil end,
  },
  ["stopped collector"] = {
    function() collectgarbage "stop" end,
    function() return collectgarbage "isrunning" end,
  },
  output = {
    function()
      io.output "/dev/null"
      io.close()
    end,
    function() return io.output() == io.stdout and io.type(io.output()) == "file" end,
  },
  input = {
    function() io.input "/dev/null" end,
    function() return io.input() == io.stdin end,
  },
}

for name, case in pairs(cases) do
  TestWorkerLeavings["test_" .. name:gsub(" ", "_") .. "_is_no_next_jobs"] = function()
    t.real(function()
      local pool <close> = asyncio.ThreadPoolExecutor(1)
      for _ = 1, 3 do
        pcall(await, pool:submit(case[1]))
        t.assertTrue(await(pool:submit(case[2])))
      end
    end)
  end
end

function TestWorkerLeavings:test_what_the_initializer_has_set_holds()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor {
      max_workers = 1,
      initializer = function()
        COUNTED = 0 -- luacheck: ignore
        debug.sethook(function() COUNTED = COUNTED + 1 end, "c") -- luacheck: ignore
        collectgarbage "stop"
        io.output "/dev/null"
      end,
    }
    for _ = 1, 3 do
      t.assertTrue(await(pool:submit(function()
        return debug.gethook() ~= nil and COUNTED > 0 and not collectgarbage "isrunning" and io.output() ~= io.stdout -- luacheck: ignore
      end)))
    end
  end)
end

function TestWorkerLeavings:test_io_output_does_what_it_did()
  t.real(function()
    local name = os.tmpname()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    t.assertEquals(await(pool:submit(function(file)
      io.output(file)
      io.write "through io.write"
      io.close()
      io.input(file)
      return io.read "a"
    end, name)), "through io.write")
    t.assertErrorMsgContains("#1 to 'output'", await, pool:submit(function() io.output {} end))
    t.assertErrorMsgContains("No such file", await, pool:submit(function() io.input "/nowhere/at all" end))
    os.remove(name)
  end)
end

t.finish()
