-- life.lua URL QUEUE STEP - a worker that kills itself with -9 at a step of its job's life. As a module: the jobs, and
-- who dies at which step.
local asyncio = require "asyncio"

local life = package.loaded["distributed.life"] or { step = false }
package.loaded["distributed.life"] = life

--- A step is reached. The shell's parent is this process.
local function reach(step)
  if step == life.step then os.execute "kill -KILL $PPID" end
end

local function note(path, ...)
  local file <close> = assert(io.open(path, "a"))
  file:setvbuf "full"
  file:write(table.concat({ ... }, " "), "\n")
end

--- Does its deed once, and says what it did.
function life.live(path, name)
  local job = asyncio.distributed.job()
  note(path, name, "begun")
  reach "in the job"
  local kept = job:once("deed", function(again)
    reach "in once, before the deed"
    note(path, name, again and "done again" or "done")
    reach "in once, after the deed"
    return name .. " is kept"
  end)
  reach "in the job, after once"
  return kept
end

--- What a script that the worker runs is to it. words: of `turn` its worker, room, and number of ends
local function meaning(name, _, _, _, ends)
  if name ~= "turn" then return name end
  return ends > 0 and "the end" or "the question"
end

--- Redis is asked, and has answered, which the worker never hears of.
local function watched(made)
  local run = made.run
  function made:run(seconds, ...)
    local what = meaning(...)
    reach("before " .. what)
    local reply, again = run(self, seconds, ...)
    if what == "the question" and reply[2][1] then what = "it is given" end
    reach("after " .. what)
    return reply, again
  end
  return made
end

local function main(url, queue, step)
  local link = require "asyncio.distributed.link"
  local open = link.open
  function link.open(settings) return watched(open(settings)) end
  life.step = step
  require "asyncio.distributed.worker".new({ url = url, queues = { queue }, modules = { "distributed.life" } }):run()
end

if arg and arg[0] and arg[0]:find "life%.lua$" then asyncio.run(main, table.unpack(arg, 1, 3)) end

return life
