--- Makes a program of a seed: settings, and blocks of statements for its tasks. It can be printed and cut down.
local new_random = require "model.random"
local ops = require "random.ops"

local STATEMENTS = 60 -- at most, in one program
local DEPTH = 4       -- of blocks in blocks
local COLLECTORS = { "default", "restless", "small steps", "small steps", "generational", "stopped" }
local ENDINGS = { "in order", 70, "closed", 20, "dropped", 10 } -- how the loop ends when main has
local CATCHES = { "asyncio", 70, "plain", 15, "none", 15 }

-- What `collectgarbage` is called with. In small steps finalisers are called one at a time, anywhere.
local SETTINGS = {
  default = function() return { "incremental", 200, 100, 13 } end,
  restless = function() return { "incremental", 1, 1000, 1 } end,
  ["small steps"] = function(random)
    return { "incremental", random:one_of { 1, 1, 100, 150 }, random:one_of { 40, 100, 200, 400 }, random:int(4, 12) }
  end,
  generational = function(random) return { "generational", random:one_of { 1, 20 }, 100 } end,
  stopped = function() return { "stop" } end,
}

local Program = {}
Program.__index = Program

local block

local function statement(g, depth, quick)
  local random, op = g.random, nil
  repeat op = random:one_of(quick and g.quick or g.all) until not op.bodies or depth < DEPTH
  g.made = g.made + 1
  local s = {
    id = g.made, op = op.name, a = random:int(1, 1000), b = random:int(1, 1000), c = random:int(1, 1000),
    catch = random:weighted(CATCHES),
  }
  for i, kind in ipairs(op.bodies or {}) do s[i] = block(g, depth + 1, quick or kind == "quick", 4) end
  return s
end

function block(g, depth, quick, longest)
  local list = {}
  for i = 1, g.random:int(1, longest) do
    if g.made >= STATEMENTS then break end
    list[i] = statement(g, depth, quick)
  end
  return list
end

--- Takes the statements out whose numbers are not in the set.
local function cut(list, only)
  for i = #list, 1, -1 do
    if not only[list[i].id] then
      table.remove(list, i)
    else
      for _, inner in ipairs(list[i]) do cut(inner, only) end
    end
  end
end

--- opts: `mode` (else the seed's); `skip`, a set of kinds to leave out; `only`, the statements that stay, if not
-- all.
local function new(seed, opts)
  local random = new_random(seed)
  local own_mode = random:chance(80) and "virtual" or "real"
  local p = { seed = seed, mode = opts.mode or own_mode, gc = random:one_of(COLLECTORS), tasks = {} }
  setmetatable(p, Program)
  p.collector = SETTINGS[p.gc](random)
  p.debug = random:chance(15)
  -- Main does as the tasks do, as long as it takes them; else it gives them their time and ends them.
  p.bare = random:chance(10) and p.mode == "virtual"
  local ending = random:weighted(ENDINGS)
  p.ending = opts.skip.abrupt and "in order" or ending
  p.finalisers = random:chance(60) and not opts.skip.finalisers
  local skip = setmetatable({ garbage = not p.finalisers or nil }, { __index = opts.skip })
  local g = { random = random, made = 0 }
  g.all, g.quick = ops.to_draw(p.mode, skip)
  for i = 1, random:int(2, 5) do p.tasks[i] = block(g, 1, false, 9) end
  p.statements = g.made
  -- What a collector does at times of its own would be another thing each time.
  p.repeats = p.mode == "virtual" and (p.gc == "stopped" or not p.finalisers)
  if opts.only then
    for _, list in ipairs(p.tasks) do cut(list, opts.only) end
  end
  return p
end

local function print_block(list, depth, out)
  for _, s in ipairs(list) do
    out(("# %s%d %s a=%d b=%d c=%d %s"):format(("  "):rep(depth), s.id, s.op, s.a, s.b, s.c, s.catch))
    for i, inner in ipairs(s) do
      if i > 1 then out("# " .. ("  "):rep(depth) .. "  and") end
      print_block(inner, depth + 2, out)
    end
  end
end

function Program.print(p, out)
  out(("# program %d: %d statements, %s, the loop ends %s, collector %s (%s)%s%s%s"):format(p.seed, p.statements,
    p.mode, p.ending, p.gc, table.concat(p.collector, " "), p.debug and ", debug" or "", p.bare and ", bare" or "",
    p.finalisers and ", finalisers" or ""))
  for i, list in ipairs(p.tasks) do
    if #list > 0 then out(("# task %d"):format(i)) end
    print_block(list, 1, out)
  end
end

return new
