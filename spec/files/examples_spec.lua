-- The examples of files, as people run them.
local t = require "helper"
local place = require "files.place"
local program = require "program"

TestExamples = {}

local function run(name, argument)
  return program.shell("timeout 60 %s %sfiles/%s.lua %s 2>/dev/null", program.lua, program.examples, name,
    argument or "")
end

function TestExamples:test_the_settings_are_saved()
  local all = "task1 = 100\ntask2 = 100\ntask3 = 100\ntask4 = 100\ntask5 = 100\n"
  local told = "500 changes were saved in\tfewer\tsteps:\n" .. all
  t.assertEquals(run "save", told)
  local path, gone = place.new()
  local _ <close> = gone
  t.assertEquals(run("save", path .. "/settings"), told)
  t.assertEquals(place.read(path .. "/settings"), all)
end

function TestExamples:test_a_trees_size_is_told()
  local path, gone = place.new()
  local _ <close> = gone
  os.execute(("cd '%s' && mkdir -p a/b c && ln -s / c/l && truncate -s 3000 a/f a/b/g"):format(path))
  t.assertEquals(run("du", path), "3 files in 4 folders: 5.86 KiB\n")
  t.assertEquals(run("du", path .. "/c"), "1 files in 1 folders: 1 bytes\n")
end

--- What the example says of a log that a script changes; the script's `seen LINE` waits until it has said that.
-- first: a file to be run before it
local function followed(script, first)
  local path, gone = place.new()
  local _ <close> = gone
  place.write(path .. "/log", "old\n")
  return program.shell([[
    tail=$(realpath %sfiles/tail.lua) && cd '%s' && : > out && { timeout 60 %s %s "$tail" log > out & } && pid=$!
    seen() { for i in $(seq 3000); do grep -q "^$1$" out && return; sleep 0.01; done; return 1; }
    for i in $(seq 1000); do grep -q begin out && break; echo begin >> log; sleep 0.02; done
    %s
    kill $pid; wait $pid 2>/dev/null; grep -v 'begin\|^$' out]], program.examples, path, program.lua,
    first and ("-e 'dofile \"%s\"'"):format(first) or "", script)
end

function TestExamples:test_a_log_is_followed_over_rotations()
  t.assertEquals(followed [[
    echo 1 >> log; printf 2 >> log; echo - >> log; mv log log.1; echo 3 >> log.1; echo 4 > log; echo 5 >> log
    seen 5; : > log; echo 6 >> log; seen 6; echo 7 > new; mv new log; seen 7]], "1\n2-\n3\n4\n5\n6\n7\n")
end

-- Between two steps of a rotation there is no log: here it is so for one in three of the calls.
function TestExamples:test_a_log_may_be_away_for_a_moment_at_any_time()
  local path, gone = place.new()
  local _ <close> = gone
  place.write(path .. "/away.lua", [[
    local asyncio = require "asyncio"
    math.randomseed(1)
    for name, of in pairs { open = asyncio, stat = asyncio.fs, exists = asyncio.fs } do
      local call = of[name]
      of[name] = function(p, ...)
        if math.random(3) > 1 then return call(p, ...) end
        local _ <close> = setmetatable({}, { __close = function() io.open(p, "a"):write("\n"):close() end })
        return call(p .. ".away", ...)
      end
    end
  ]])
  local lines = {}
  for i = 1, 40 do lines[i] = i .. "\n" end
  local script = "for n in $(seq 40); do mv log log.1; echo $n >> log; seen $n || break; done"
  t.assertEquals(followed(script, path .. "/away.lua"), table.concat(lines))
end

t.finish { sampled = true }
