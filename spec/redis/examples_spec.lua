-- The examples of Redis, as people run them.
local t = require "helper"
local program = require "program"
local server = require "redis.server"

TestExamples = {}

local function run(name, db)
  return program.shell("timeout 60 %s %sredis/%s.lua %s 2>&1", program.lua, program.examples, name, db.url)
end

function TestExamples:test_the_cache_makes_each_value_once()
  local db <close> = server.start()
  t.assertEquals(run("cache", db), "100 asked, 2 made, 2 values\n")
  t.assertEquals(run("cache", db), "100 asked, 2 made, 2 values\n")
end

function TestExamples:test_the_limiter_lets_some_through_and_then_again()
  local db <close> = server.start()
  t.assertEquals(run("limiter", db), "ann: some of 30 at once\nbob: allowed\nann: allowed again\n")
end

function TestExamples:test_the_chat_tells_others_and_those_who_come_later()
  local db <close> = server.start()
  local function enter(name)
    local person = program.start("%s %sredis/chat.lua %s %s", program.lua, program.examples, name, db.url)
    person:expect(("You are %s; Ctrl%%-D ends\n"):format(name))
    return person
  end
  local ann <close> = enter "ann"
  local bob <close> = enter "bob"
  ann:type "hello"
  bob:expect "ann: hello\n"
  bob:type "good evening"
  ann:expect "bob: good evening\n"
  ann:type "/who"
  ann:expect "ann bob\n"
  local cid <close> = program.start("%s %sredis/chat.lua cid %s", program.lua, program.examples, db.url)
  cid:expect "ann: hello\nbob: good evening\nYou are cid"
  t.assertEquals(bob:interrupt(), "")
  ann:type "/who"
  ann:expect "ann cid\n"
end

t.finish()
