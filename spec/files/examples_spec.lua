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

t.finish { programs = true }
