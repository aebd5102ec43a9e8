--- engine.lua - public calls, cancelled at random moments: each case in many rounds, each round from a seed.
--
-- A file beside this one returns a list of cases, `{ "what is called", "virtual" or "real", function(c) ... end }`.
-- The function sets a round up, in the main task of a loop of its own, and returns what is to be cancelled (it
-- runs as a task) and what looks afterwards whether anything was lost: `check(task)`, in the main task, once that
-- task has ended; it may wait. Chance is `c`'s: `c.random(m, n)`, `c.one_of(list)`, `c.pass()` (lets some turns or
-- some time go by). A round fails, too, where it leaves a task, an open handle, a report, or hangs.
local asyncio = require "asyncio"
local testing = require "asyncio.testing"

local engine = {}

-- Subjects whose sample is a spec file of their room's own, so that no file runs long: subject → folder.
local ROOMS = {
  compat = "compat", copas = "compat", datagram = "datagram", distributed = "distributed", file = "files", fs = "files",
  http_client = "http", redis = "redis", sec = "compat", socket = "compat", tls = "tls", watch = "files",
  websocket = "http",
}

local OTHERS = { engine = true, main = true, pieces = true } -- files beside the subjects

local LIMIT = 60 -- seconds of real time for a round: only for what hangs

local function chance(clock)
  local c = { random = math.random, clock = clock }
  function c.one_of(list) return list[math.random(#list)] end
  --- Some turns, or some time: from none to what makes every timer of a case expire.
  function c.pass()
    if math.random(3) > 1 then
      for _ = 1, math.random(0, 6) do asyncio.sleep(0) end
    else
      asyncio.sleep(math.random() * (clock == "virtual" and 4 ^ math.random(-2, 2) or 0.002))
    end
  end
  return c
end

local function how(task)
  if task:cancelled() then return "cancelled" end
  return select(2, task:exception()) and "failed" or "ended"
end

--- One round; how the task ended, or nil and what went wrong.
local function round(case, seed)
  local name, clock, setup = case[1], case[2], case[3]
  math.randomseed(seed, 1)
  local outcome, begun
  local ok, err = pcall(testing.async(function()
    local c = chance(clock)
    local victim, check = setup(c)
    local task = asyncio.create_task { function()
      begun = true
      return victim()
    end, name = name }
    for _ = 1, c.one_of { 0, 1, 1, 1, 1, 2, 3 } do
      c.pass()
      task:cancel()
    end
    asyncio.wait { task }
    outcome = begun and how(task) or "unstarted"
    check(task)
  end, { clock = clock, timeout = LIMIT }))
  if ok then return outcome end
  return nil, tostring(err)
end

--- The files of cases beside this one.
function engine.subjects()
  local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
  local pipe <close> = assert(io.popen(("ls '%s' | LC_ALL=C sort"):format(here)))
  local list = {}
  for file in pipe:lines() do
    local name = file:match "^(.*)%.lua$"
    if name and not OTHERS[name] then list[#list + 1] = name end
  end
  return list
end

--- Runs so many rounds of the case, from that seed on: how often it ended in which way, or nil and what went wrong.
-- Where no call was cancelled in all these rounds, or every one, the case looks at nothing.
function engine.run(case, rounds, first)
  local ways = { unstarted = 0, cancelled = 0, failed = 0, ended = 0 }
  for seed = first, first + rounds - 1 do
    local outcome, err = round(case, seed)
    if not outcome then return nil, ("%s, seed %d: %s"):format(case[1], seed, err) end
    ways[outcome] = ways[outcome] + 1
  end
  if rounds >= 100 and (ways.cancelled == 0 or ways.cancelled == rounds) then
    return nil, ("%s: of %d rounds %d were cancelled"):format(case[1], rounds, ways.cancelled)
  end
  return ways
end

--- Gives a table of specs a test for each case of that folder's subjects; nil: of those that have none.
-- t: helper.lua
function engine.sample(t, specs, room)
  local first = math.tointeger(os.getenv "CHECK_SEED" or os.time()) % 1000000 * 1000
  for _, subject in ipairs(engine.subjects()) do
    for _, case in ipairs(ROOMS[subject] == room and require("calls." .. subject) or {}) do
      specs[("test_%s_loses_nothing"):format(case[1]:gsub("[^%w]+", "_"))] = function()
        local ways, err = engine.run(case, t.count(100), first)
        t.assertTrue(ways ~= nil, err)
      end
    end
  end
end

--- The folders whose spec files run samples.
function engine.rooms()
  local set = {}
  for _, room in pairs(ROOMS) do set[room] = true end
  return set
end

return engine
