-- distributed.lua - asyncio.distributed beside Celery, on one Redis: jobs a second, processor time of a job.
-- Both have so many processes that work: ours are workers, Celery's one worker's children. Each round runs
-- all, one after the other. ROUNDS=3 WORKERS=1,2,8 JOBS=10000; makes the tables of RESULTS.md.
local asyncio = require "asyncio"

local ROUNDS, JOBS = tonumber(os.getenv "ROUNDS" or 3), tonumber(os.getenv "JOBS" or 10000)
local PATIENCE = 300 -- seconds for a run

local LUA = arg[-1] or "lua5.4"
local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
local LUA_PATH = ("%s/distributed/?.lua;%s"):format(here, package.path)
package.path = ("%s/?.lua;%s"):format(here, package.path)
local redisserver = require "redisserver"
local folder, socket = redisserver.place()

local function start(words, env, errors)
  words[#words + 1] = { stdin = "pipe", stdout = "pipe", stderr = errors, extra_env = env }
  return asyncio.create_subprocess_exec(table.unpack(words))
end

-- The processor's time, as the kernel counts it: in ticks of 10 ms

local function content(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

local function seconds_of(pid)
  local stat = content("/proc/" .. pid .. "/stat")
  local user, system = stat:match("%) %S" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return ((tonumber(user) or 0) + (tonumber(system) or 0)) / 100
end

local Processes = {}

--- They go on until the block ends.
function Processes:__close()
  for _, process in ipairs(self) do process:terminate() end
  for _, process in ipairs(self) do process:wait() end
end

--- Of processes and their children.
local function seconds_of_all(processes)
  local sum = 0
  for _, process in ipairs(processes) do
    sum = sum + seconds_of(process.pid)
    local path = ("/proc/%d/task/%d/children"):format(process.pid, process.pid)
    for child in content(path):gmatch "%d+" do sum = sum + seconds_of(child) end
  end
  return sum
end

-- Those that are measured: `workers(n)` starts them, `submitter()` what submits

local function wait_for(process, pattern)
  for line in process.stderr:lines() do
    if line:find(pattern) then break end
  end
  asyncio.create_task(function() -- what it says later, nobody needs
    while process.stderr:read(65536) do end
  end)
end

local function ours(concurrency)
  local env = { LUA_PATH = LUA_PATH, LUA_CPATH = package.cpath }
  return {
    share = 1,
    workers = function(n)
      local list = setmetatable({}, Processes)
      for i = 1, n do
        list[i] = start({
          LUA, here .. "/../bin/asyncio", "worker", "--url", "unix://" .. socket,
          "--concurrency", tostring(concurrency), "jobs",
        }, env, "pipe")
      end
      for _, process in ipairs(list) do wait_for(process, "takes jobs of") end
      return list
    end,
    submitter = function()
      local words = { LUA, here .. "/distributed/submit.lua", "unix://" .. socket }
      return start(words, env, "inherit")
    end,
  }
end

local function celery(acks)
  local env = {
    PYTHONPATH = here .. "/distributed", PYTHONDONTWRITEBYTECODE = "1", BENCH_SOCKET = socket,
    BENCH_ACKS = acks, BENCH_PREFETCH = "4",
  }
  return {
    share = 0.15, -- of the jobs: it needs longer for each
    workers = function(n)
      local process = start({
        "/usr/bin/python3", "-m", "celery", "-A", "jobs", "worker", "-c", tostring(n), "-P", "prefork",
        "-O", "fair", "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR",
      }, env, "null")
      asyncio.create_task(function()
        while process.stdout:read(65536) do end
      end)
      return setmetatable({ process }, Processes) -- the first jobs wait for it
    end,
    submitter = function()
      return start({ "/usr/bin/python3", here .. "/distributed/submit.py" }, env, "inherit")
    end,
  }
end

local PEERS = {
  { name = "ours", make = ours(8) },
  { name = "ours, `--concurrency 64`", make = ours(64) },
  { name = "Celery, `acks_late`", make = celery "late" },
  { name = "Celery", make = celery "early" },
}

-- Measuring

local function redis_seconds(client)
  local text = client:call("INFO", "cpu")
  return tonumber(text:match "used_cpu_sys:([%d.]+)") + tonumber(text:match "used_cpu_user:([%d.]+)")
end

--- Those within scripts are counted, too.
local function commands(client)
  local n = 0
  for calls in client:call("INFO", "commandstats"):gmatch "calls=(%d+)" do n = n + tonumber(calls) end
  return n
end

local function ask(submitter, name, n)
  submitter.stdin:write(("%s %d\n"):format(name, n))
  return tonumber(submitter.stdout:readline()) or error("what submits has ended", 0)
end

local function measure_jobs(client, submitter, workers, name, n)
  local function look()
    return {
      submitter = seconds_of_all { submitter } * 1e6, workers = seconds_of_all(workers) * 1e6,
      redis = redis_seconds(client) * 1e6, commands = commands(client),
    }
  end
  ask(submitter, name, math.max(1, n // 10))
  local before, found = look(), {}
  local seconds = ask(submitter, name, n)
  for key, value in pairs(look()) do found[key] = (value - before[key]) / n end
  found.both, found.rate = found.submitter + found.workers, n / seconds
  return found
end

--- Points: the jobs, and which part of JOBS that is.
local POINTS = { { "empty", 1 }, { "busy", 0.3 }, { "one", 0.1 } }
local WORDS = { empty = "empty", busy = "1 ms of processor time", one = "empty, one after the other" }

local function measure(client, peer, n, add)
  client:call "FLUSHALL"
  local workers <close> = peer.workers(n)
  local submitter <close> = peer.submitter()
  for _, point in ipairs(POINTS) do
    local jobs = math.ceil(JOBS * peer.share * point[2])
    add(point[1], asyncio.wait_for(function()
      return measure_jobs(client, submitter, workers, point[1], jobs)
    end, PATIENCE))
  end
end

-- Tables

local function median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  return sorted[(#sorted + 1) // 2], sorted[1], sorted[#sorted]
end

local function spread(list, form)
  local middle, least, most = median(list)
  return (form .. " (" .. form .. "–" .. form .. ")"):format(middle, least, most)
end

--- got[point][workers][peer]: what was found in each round
local function print_table(got, counts, key, form, ratio)
  io.write("\n| jobs | workers |")
  for _, peer in ipairs(PEERS) do io.write(" ", peer.name, " |") end
  print(ratio and " Celery, `acks_late` / ours |" or "")
  print("|---|" .. ("---:|"):rep(#PEERS + (ratio and 2 or 1)))
  for _, point in ipairs(POINTS) do
    for _, n in ipairs(counts) do
      local of, parts = got[point[1]][n], {}
      io.write("| ", WORDS[point[1]], " | ", n, " |")
      for i in ipairs(PEERS) do
        local list = {}
        for k, found in ipairs(of[i]) do list[k] = found[key] end
        io.write(" ", spread(list, form), " |")
      end
      for k, found in ipairs(of[1]) do parts[k] = of[3][k][key] / found[key] end
      print(ratio and (" %s |"):format(spread(parts, "%.1f")) or "")
    end
  end
end

local TABLES = {
  { "Processor time of a job, µs, of what submits and of all workers", "both", "%.0f", true },
  { "Jobs a second", "rate", "%.0f", false },
  { "Redis' commands for a job, those in scripts counted", "commands", "%.1f", false },
  { "Redis' processor time for a job, µs", "redis", "%.0f", false },
}

local function measure_all(client, counts)
  local got = {}
  for _, point in ipairs(POINTS) do
    got[point[1]] = {}
    for _, n in ipairs(counts) do got[point[1]][n] = { {}, {}, {}, {} } end
  end
  for _ = 1, ROUNDS do
    for _, n in ipairs(counts) do
      for i, peer in ipairs(PEERS) do
        measure(client, peer.make, n, function(name, found) table.insert(got[name][n][i], found) end)
      end
    end
  end
  return got
end

local function main()
  local counts = {}
  for n in (os.getenv "WORKERS" or "1,2,8"):gmatch "%d+" do counts[#counts + 1] = tonumber(n) end
  local client <close> = asyncio.redis.connect { path = socket }
  local got = measure_all(client, counts)
  print(("%d rounds, median (least–greatest)."):format(ROUNDS))
  for _, one in ipairs(TABLES) do
    print("\n### " .. one[1])
    print_table(got, counts, table.unpack(one, 2))
  end
end

redisserver.with(folder, socket, asyncio.run, main)
