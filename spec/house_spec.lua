-- What `make lint` sees of the house: tools/layers.lua, tools/callgraph.lua and tools/rockspec.lua on small trees; that
-- tools/setup installs whom the specs meet; and which tests the checks take.
local t = require "helper"
local program = require "program"

TestLayers = {}
TestCallgraph = {}
TestRockspec = {}
TestSetup = {}
TestSample = {}

local TOOLS = (arg[0]:match "^(.*)/spec/[^/]*$" or ".") .. "/tools"
local LUA = os.getenv "LUA" or "lua5.4"
local LAYERS = "base :\ncore : base # and no more\nnet : core base\nasyncio.c : *\n"
  .. "asyncio.core = asyncio.c base core net\nasyncio.apart = apart\n"

if not package.searchpath("house", TOOLS .. "/?.lua") then -- the rock comes without
  for _, class in ipairs { TestLayers, TestCallgraph, TestRockspec, TestSetup, TestSample } do
    function class:test_is_in_the_repository() t.skip "tools are not here" end
  end
  t.finish()
end

local function shell(command, ...)
  local pipe = assert(io.popen(command:format(...) .. " 2>&1"))
  local output = pipe:read "a"
  return output, select(3, pipe:close())
end

--- Runs a tool in a folder with these files; what it says, and its status.
local function try(tool, files)
  local root = os.tmpname()
  os.remove(root)
  shell("mkdir -p %s/src/base %s/src/core %s/src/net %s/src/apart %s/doc %s/lua %s/tools", root, root, root, root,
    root, root, root)
  files["doc/layers.txt"] = files["doc/layers.txt"] or LAYERS .. "apart :\n"
  files["tools/circles.txt"] = files["tools/circles.txt"] or "# none\n"
  files["tools/user.c"] = "a_call b_call c_call d_call a_long b_slow noun_slow b_ noun_other\n" -- links with them
  for name, text in pairs(files) do
    local file <close> = assert(io.open(root .. "/" .. name, "w"))
    file:write(text)
  end
  local output, status = shell("tools=$(cd '%s' && pwd) && cd %s && %s $tools/%s", TOOLS, root, LUA, tool)
  local rockspec = io.open(root .. "/a.rockspec")
  local written = rockspec and rockspec:read "a"
  if rockspec then rockspec:close() end
  shell("rm -rf %s", root)
  return output, status, written
end

function TestLayers:test_lets_a_folder_include_what_is_below()
  t.assertEquals({ try("layers.lua", {
    ["src/base/a.h"] = "", ["src/core/b.h"] = '#include "base/a.h"\n#include "core/b.h"\n#include <stdio.h>\n',
    ["src/net/c.c"] = '#include "core/b.h"\n', ["src/asyncio.c"] = '#include "net/c.c"\n' }) }, { "", 0 })
end

function TestLayers:test_lets_a_header_alone_be_allowed()
  local layers = LAYERS .. "apart : base/a.h\n"
  local files = { ["doc/layers.txt"] = layers, ["src/base/a.h"] = "", ["src/base/b.h"] = "",
    ["src/apart/a.c"] = '#include "base/a.h"\n#include "base/b.h"\n' }
  t.assertEquals({ try("layers.lua", files) }, { "src/apart/a.c:2: apart may not include base/b.h\n", 1 })
end

function TestLayers:test_names_the_line_that_includes_what_is_above()
  t.assertEquals({ try("layers.lua", { ["src/core/b.h"] = "", ["src/base/a.c"] = '\n#  include "core/b.h"\n' }) },
    { "src/base/a.c:2: base may not include core/b.h\n", 1 })
end

function TestLayers:test_wants_the_folder_in_the_name()
  local source = '#include "b.h"\n#include "../x.h"\n'
  t.assertEquals({ try("layers.lua", { ["src/base/b.h"] = "", ["src/base/a.c"] = source }) },
    { "src/base/a.c:1: there is no src/b.h\nsrc/base/a.c:2: ../x.h leads upwards\n", 1 })
end

function TestLayers:test_wants_to_know_every_folder()
  t.assertEquals({ try("layers.lua", { ["src/apart/a.c"] = "", ["doc/layers.txt"] = "base :\n" }) },
    { "src/apart/a.c: doc/layers.txt says nothing of apart\nsrc/apart/a.c is in no module of doc/layers.txt\n", 1 })
end

function TestLayers:test_finds_a_header_with_a_name_of_the_systems()
  local output, status = try("layers.lua", { ["src/net/if.h"] = "" }) -- <net/if.h>
  t.assertStrMatches(output, "src/net/if%.h would be included where the system's <net/if%.h> is meant %(/.*%)\n")
  t.assertEquals(status, 1)
end

function TestCallgraph:test_finds_a_circle_and_who_ties_it()
  t.assertEquals({ try("callgraph.lua", {
    ["src/core/a.c"] = [[
      static int own(void) { return 1; }
      int a_call(int x) { return own() ? b_call(x) : 0; } /* c_call */]],
    ["src/core/b.c"] = "int\nb_call(int x)\n{\n  return c_call(x);\n}\n",
    ["src/core/c.c"] = "static const Kind KIND = {\"a_other\", a_call};\nint c_call(int x) { return KIND.f(x); }\n",
    ["src/core/d.c"] = "int d_call(struct S *s) { return s->d_other + a_call('\\'') + s.b_call; }\n" }) }, { [[
a circle of core/a, core/b, core/c:
  core/a -> core/b: a_call uses b_call
  core/b -> core/c: b_call uses c_call
  core/c -> core/a: KIND uses a_call
]], 1 })
end

function TestCallgraph:test_takes_what_a_header_defines_for_its_nouns()
  t.assertEquals({ try("callgraph.lua", { ["src/core/a.c"] = "",
    ["src/core/a.h"] = "#define A_SIZE 10\nstatic inline int a_quick(void) { return b_slow(); }\n",
    ["src/core/b.c"] = "#define LOCAL(x) \\\n  a_quick()\nint b_slow(void) { return LOCAL(A_SIZE); }\n" }) }, { [[
a circle of core/a, core/b:
  core/a -> core/b: a_quick uses b_slow
  core/b -> core/a: LOCAL uses a_quick
]], 1 })
end

function TestCallgraph:test_takes_what_a_header_without_a_file_defines_for_its_users()
  t.assertEquals({ try("callgraph.lua", {
    ["src/core/noun.h"] = "static inline int noun_quick(void) { return noun_slow(); }\n",
    ["src/core/slow.c"] = "int noun_slow(void) { return noun_quick(); }\nint b_(void) { return noun_other(); }\n",
    ["src/core/user.c"] = "int noun_other(void) { return noun_quick(); }\n" }) }, { [[
a circle of core/slow, core/user:
  core/slow -> core/user: b_ uses noun_other
  core/user -> core/slow: noun_other uses noun_slow by noun_quick
]], 1 })
end

function TestCallgraph:test_a_static_function_is_its_files_own()
  t.assertEquals({ try("callgraph.lua", {
    ["src/core/a.c"] = "static void settle(void) {}\nvoid a_call(void) { settle(); b_call(); }\n",
    ["src/core/b.c"] = "static void settle(void) {}\nvoid b_call(void) { settle(); }\n" }) }, { "", 0 })
end

function TestCallgraph:test_lets_pass_what_is_listed_as_long_as_it_is_there()
  local files = { ["src/core/a.c"] = "int a_call(void) { return b_call(); }\n",
    ["src/core/b.c"] = "int b_call(void) { return a_call(); }\n", ["tools/circles.txt"] = "core/b core/a core/c\n" }
  t.assertEquals({ try("callgraph.lua", files) }, { "", 0 })
  files["src/core/b.c"] = "int b_call(void) { return 1; }\n"
  t.assertEquals({ try("callgraph.lua", files) },
    { "tools/circles.txt: this circle is open, take out its line: core/b core/a core/c\n", 1 })
end

function TestCallgraph:test_finds_a_function_that_is_too_long()
  local function long(n) return "\nint a_long(void) {\n" .. ("  a();\n"):rep(n) .. "}\n" end
  t.assertEquals({ try("callgraph.lua", { ["src/core/a.c"] = long(58) }) }, { "", 0 })
  t.assertEquals({ try("callgraph.lua", { ["src/core/a.c"] = long(59) }) },
    { "src/core/a.c:2: a_long has 61 lines, more than 60\n", 1 })
end

function TestCallgraph:test_finds_what_is_visible_for_nothing()
  t.assertEquals({ try("callgraph.lua", {
    ["src/core/a.c"] = "int a_seen(void) { return a_own(); }\nint a_own(void) { return a_seen(); }\n",
    ["src/core/b.c"] = "static int b(void) { return a_seen(); }\n" }) },
    { "src/core/a.c:2: a_own is used in this file only: static\n", 1 })
end

function TestCallgraph:test_knows_by_the_name_whether_a_function_knows_lua()
  local rule = "asy_x is what takes or gives a lua_State, noun_verb what doesn't"
  t.assertEquals({ try("callgraph.lua", {
    ["src/core/a.h"] = "static inline int a_push(lua_State *L) { return 1; }\n",
    ["src/core/b.h"] = "static inline int asy_plain(int n) { return n; }\n",
    ["src/core/c.h"] = "static inline lua_State *asy_new(void) { return f(); }\nint c_n(void) { return 1; }\n",
    ["src/core/d.c"] = "static int on(lua_State *L) { return 1; }\n" }) },
    { "src/core/a.h:1: a_push: " .. rule .. "\nsrc/core/b.h:1: asy_plain: " .. rule .. "\n", 1 })
end

local ROCKSPEC = 'package = "a"\nbuild = {\n  modules = {\n    ["old"] = "lua/old.lua",\n  },\n  install = {},\n}\n'
local WRITTEN = [[
package = "a"
build = {
  modules = {
    ["b"] = "lua/b.lua",
    ["asyncio.core"] = {
      sources = {
        "src/asyncio.c",
        "src/core/a.c",
      },
      libraries = { "uv" },
      incdirs = { "src", "$(LIBUV_INCDIR)" },
      libdirs = { "$(LIBUV_LIBDIR)" },
    },
    ["asyncio.apart"] = {
      sources = {
        "src/apart/a.c",
      },
      incdirs = { "src" },
    },
  },
  install = {},
}
]]

function TestRockspec:test_has_its_lists_written()
  local files = { ["a.rockspec"] = ROCKSPEC, ["src/asyncio.c"] = "", ["src/core/a.c"] = "", ["src/core/a.h"] = "",
    ["src/apart/a.c"] = "", ["lua/b.lua"] = "" }
  t.assertEquals({ try("rockspec.lua", files) }, { "", 0, WRITTEN })
  local output, status, written = try("rockspec.lua --check", files)
  t.assertStrMatches(output, "a%.rockspec: the lists .*")
  t.assertEquals({ status, written }, { 1, ROCKSPEC })
  files["a.rockspec"] = WRITTEN
  t.assertEquals({ try("rockspec.lua --check", files) }, { "", 0, WRITTEN })
end

function TestRockspec:test_in_a_folder_has_that_folders_module_and_the_other_then_has_not()
  local alone = '    ["asyncio.apart"] = {\n      sources = {\n        "src/apart/a.c",\n      },\n'
    .. '      incdirs = { "src" },\n    },\n'
  local from, to = WRITTEN:find(alone, 1, true)
  local files = { ["src/asyncio.c"] = "", ["src/core/a.c"] = "", ["src/apart/a.c"] = "", ["lua/b.lua"] = "",
    ["a.rockspec"] = ROCKSPEC, ["src/apart/b.rockspec"] = "build = {\n  modules = {\n" .. alone .. "  },\n}\n" }
  t.assertEquals({ try("rockspec.lua", files) }, { "", 0, WRITTEN:sub(1, from - 1) .. WRITTEN:sub(to + 1) })
  files["a.rockspec"] = WRITTEN
  t.assertStrMatches(try("rockspec.lua --check", files), "a%.rockspec: the lists .*\n")
end

-- In which of Debian's packages a program is, where its name isn't the package's.
local PACKAGES = { nc = "netcat-openbsd", node = "nodejs", ["redis-check-rdb"] = "redis-tools" }
local ALWAYS_THERE = { setpriv = true, script = true } -- in what Debian calls essential

--- What `tools/setup test` installs, as a set.
local function installed_for_the_specs()
  local file <close> = assert(io.open(TOOLS .. "/setup"))
  local text, set = file:read "a", {}
  local lists = text:match '\npeers="(.-)"' .. " " .. text:match "\ntest%) (.-) ;;"
  for word in lists:gmatch "[%w.+-]+" do set[word] = true end
  return set
end

function TestSetup:test_installs_each_program_that_a_spec_needs()
  local set, names = installed_for_the_specs(), {}
  for line in shell("grep -rhoE 'peers.(need|has) \"[^\"]+' %s/../spec", TOOLS):gmatch "[^\n]+" do
    names[line:match '([^"/]*)$'] = true
  end
  t.assertEquals(names.curl, true)
  for name in pairs(names) do
    t.assertTrue(set[PACKAGES[name] or name] or ALWAYS_THERE[name] or name == "redis-server",
      name .. ": a spec needs it, and tools/setup does not install it")
  end
end

--- How many of a file's three tests run if every nth is to be taken, for each of n seeds.
local function taken(n)
  local name = program.file_with [[
    local t = require "helper"
    TestThree = {}
    for i = 1, 3 do TestThree["test_" .. i] = function() t.assertTrue(true) end end
    t.finish()
  ]]
  local counts = {}
  for seed = 1, n do
    local output = shell("env -u SPEC_GC SPEC_SAMPLE_ALL=%d CHECK_SEED=%d %s %s", n, seed, program.checked_lua, name)
    counts[seed] = math.tointeger(output:match "spec: (%d+) passed, 0 failed")
  end
  os.remove(name)
  return counts
end

function TestSample:test_is_a_part_of_the_file()
  t.assertEquals(taken(1), { 3 })
  t.assertEquals(taken(2), { 1, 2 })
end

--- It was all of it where the seed's rest was beyond the last test.
function TestSample:test_of_a_short_file_is_one_test() t.assertEquals(taken(5), { 1, 1, 1, 1, 1 }) end

t.finish()
