-- client_examples_spec.lua - the examples of HTTP's client, as people run them, beside the server's.
local t = require "helper"
local program = require "program"

local fs = t.asyncio.fs

local function run(name, ...)
  return program.shell("timeout 60 %s %shttp/%s.lua %s 2>&1", program.lua, program.examples, name,
    table.concat({ ... }, " "))
end

--- Calls fn(url) while examples/http/files.lua serves those pages.
local function with_site(pages, fn)
  local path = t.asyncio.run(fs.mkdtemp)
  for name, text in pairs(pages) do
    local file <close> = assert(io.open(path .. "/" .. name, "w"))
    file:write(text)
  end
  local server <close> = program.start("%s %shttp/files.lua '%s' 0", program.lua, program.examples, path)
  fn("http://127.0.0.1:" .. server:expect "http://127%.0%.0%.1:(%d+)")
  server:interrupt()
  os.execute(("rm -rf '%s'"):format(path))
end

TestExamples = {}

function TestExamples:test_a_page_is_fetched_in_a_line()
  with_site({ ["index.html"] = "hello" }, function(url)
    t.assertEquals({ run("get", url .. "/index.html") }, { "hello\n", 0 })
    local output, status = run("get", url .. "/nothing")
    t.assertStrContains(output, ("HTTPStatusError: GET %s/nothing: 404 Not Found"):format(url))
    t.assertEquals(status, 1)
  end)
end

function TestExamples:test_dead_links_are_found()
  with_site({
    ["index.html"] = [[<a href="one.html">1</a> <A class=x HREF='two.html#part'>2</A> <a href="gone.html">-</a>]],
    ["one.html"] = [[<a href="index.html">home</a> <a href="http://127.0.0.1:1/x">nobody</a> <a href="#here">x</a>]],
    ["two.html"] = "no links",
  }, function(url)
    local output = run("links", url .. "/index.html", 3)
    t.assertStrContains(output, ("%s/gone.html: 404 Not Found (on %s/index.html)\n"):format(url, url))
    t.assertStrContains(output, "http://127.0.0.1:1/x: [ECONNREFUSED] connection refused")
    t.assertStrContains(output, "\n5 pages, 2 dead links\n")
  end)
end

t.finish()
