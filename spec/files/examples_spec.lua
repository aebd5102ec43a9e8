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

function TestExamples:test_a_log_is_followed_over_rotations()
  local path, gone = place.new()
  local _ <close> = gone
  place.write(path .. "/log", "old\n")
  t.assertEquals(program.shell([[
    tail=$(realpath %sfiles/tail.lua) && cd '%s' && : > out && { timeout 60 %s "$tail" log > out & } && pid=$!
    seen() { for i in $(seq 3000); do grep -q "^$1$" out && return; sleep 0.01; done; }
    until grep -q begin out; do echo begin >> log; sleep 0.02; done
    echo 1 >> log; printf 2 >> log; echo - >> log; mv log log.1; echo 3 >> log.1; echo 4 > log; echo 5 >> log
    seen 5; : > log; echo 6 >> log; seen 6; echo 7 > new; mv new log; seen 7
    kill $pid; wait $pid 2>/dev/null; grep -v begin out]], program.examples, path, program.lua),
    "1\n2-\n3\n4\n5\n6\n7\n")
end

t.finish { sampled = true }
