-- guide_spec.lua - the guide's first pieces of code run, and the example, as people run it.
local t = require "helper"
local cluster = require "distributed.cluster"
local program = require "program"

local asyncio = t.asyncio

TestGuide = {}
TestExample = {}

local function content(name) return program.content(program.examples .. "../" .. name) end

function TestGuide:test_says_what_can_be_done()
  cluster.test(function(c)
    package.path = program.examples .. "distributed/?.lua;" .. package.path
    local _ <close> = c:worker { modules = { "primes" } }
    local first = content "doc/distributed.md":match "\n```lua norun\n(.-)\n```"
    local counts = load(first:gsub('"redis:[^"]*"', ("%q"):format(c.url)) .. " return counts", "=guide", "t",
      { asyncio = asyncio })()
    t.assertEquals(counts, { 168, 303, 430, n = 3 })
  end)
end

function TestGuide:test_has_pieces_that_compile()
  local guide, n = content "doc/distributed.md", 0
  for piece in guide:gmatch "\n *```lua norun\n(.-)\n *```" do
    assert(load(piece))
    n = n + 1
  end
  t.assertEquals(n, select(2, guide:gsub("```lua", "")))
end

function TestExample:test_counts_primes_with_three_workers()
  cluster.test(function(c)
    local script = '#!/bin/sh\nexec %s %s../bin/asyncio "$@"\n'
    local command = program.file_with(script:format(program.lua, program.examples))
    local _ <close> = asyncio.defer(os.remove, command)
    os.execute("chmod +x " .. command)
    local result = asyncio.run_process({ program.lua, program.examples .. "distributed/cluster.lua", c.url }, {
      capture = true, extra_env = { ASYNCIO = command },
    })
    t.assertEquals(result.stdout, "20 jobs found 2262 primes up to 20000\n")
  end)
end

t.finish { sampled = true }
