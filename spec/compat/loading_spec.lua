-- compat.require, dofile, install: modules are loaded anew, with their own `require`, and nothing global changes.
local t = require "helper"
local place = require "files.place"
local asyncio = t.asyncio
local compat = asyncio.compat
for _ in pairs(compat) do end -- loads what is loaded when it is first used
assert(asyncio.socket and compat.copas.semaphore)

TestRequire = {}
TestGlobals = {}
TestWaiting = {}
TestDofile = {}
TestInstall = {}

local n = 0

--- Scripts in a folder of their own, found by `require`: calls fn with a prefix that makes their names unique,
-- which stands for "@" in names and texts. Sees that nothing global is changed.
local function with_modules(files, fn)
  local path, gone = place.new()
  local _ <close> = gone
  n = n + 1
  local prefix = ("m%d_"):format(n)
  for name, text in pairs(files) do
    place.write(("%s/%s"):format(path, name:gsub("@", prefix)), (text:gsub("@", prefix)))
  end
  local kept_path, kept_loaded, kept_globals = package.path, {}, {}
  for name, value in pairs(package.loaded) do kept_loaded[name] = value end
  for name, value in pairs(_G) do kept_globals[name] = value end
  package.path = ("%s/?.lua;%s/?/init.lua;%s"):format(path, path, package.path)
  local kept = package.path
  local ok, err = asyncio.pcall(fn, prefix, path)
  local later = package.path
  package.path = kept_path
  if not ok then error(err, 0) end
  t.assertEquals(later, kept)
  for name, value in pairs(_G) do
    if name:sub(1, #prefix) ~= prefix then t.assertIs(value, kept_globals[name], name) end
  end
  for name, value in pairs(package.loaded) do t.assertIs(value, kept_loaded[name], name) end
end

-- Requiring

function TestRequire:test_a_module_is_loaded_once_and_apart_from_the_ordinary_one()
  with_modules({ ["@a.lua"] = "return { name = ..., path = select(2, ...) }" }, function(p, path)
    local module, origin = compat.require(p .. "a")
    t.assertEquals(module, { name = p .. "a", path = path .. "/" .. p .. "a.lua" })
    t.assertEquals(origin, module.path)
    t.assertIs(compat.require(p .. "a"), module)
    t.assertNil(package.loaded[p .. "a"])
    t.assertNotIs(dofile(module.path), module)
  end)
end

function TestRequire:test_what_it_requires_is_loaded_likewise()
  with_modules({
    ["@a.lua"] = "local b = require '@b'; return { b = b, c = require '@c' }",
    ["@b.lua"] = "local r = require; return { c = function() return r '@c' end }",
    ["@c.lua"] = "return {}",
  }, function(p)
    local a = compat.require(p .. "a")
    t.assertIs(a.b.c(), a.c)
    t.assertIs(compat.require(p .. "c"), a.c)
  end)
end

function TestRequire:test_a_module_that_returns_nothing_is_true_or_what_it_put_there()
  with_modules({
    ["@a.lua"] = "",
    ["@b.lua"] = "package.loaded[...] = 'put there'",
    ["@c.lua"] = "package.loaded[...] = 'put there'; return 'returned'",
  }, function(p)
    t.assertEquals((compat.require(p .. "a")), true)
    t.assertEquals((compat.require(p .. "b")), "put there")
    t.assertEquals((compat.require(p .. "c")), "returned")
  end)
end

function TestRequire:test_modules_may_require_each_other_once_they_are_there()
  with_modules({
    ["@a.lua"] = "local a = {}; package.loaded[...] = a; a.b = require '@b'; return a",
    ["@b.lua"] = "return { a = require '@a' }",
  }, function(p)
    local a = compat.require(p .. "a")
    t.assertIs(a.b.a, a)
  end)
end

function TestRequire:test_a_loop_of_modules_is_an_error()
  with_modules({
    ["@a.lua"] = "return require '@b'",
    ["@b.lua"] = "return require '@a'",
  }, function(p)
    t.assertEquals(t.error_of(compat.require, p .. "a"), ("loop or previous error loading module '%sa'"):format(p))
    t.assertEquals(t.error_of(compat.require, p .. "b"), ("loop or previous error loading module '%sb'"):format(p))
  end)
end

function TestRequire:test_an_error_is_as_it_was_and_the_next_call_tries_again()
  with_modules({
    ["@a.lua"] = "@tries = (@tries or 0) + 1; if @tries == 1 then error({ 'first' }) end; return @tries",
  }, function(p)
    t.assertEquals(t.error_of(compat.require, p .. "a"), { "first" })
    t.assertEquals((compat.require(p .. "a")), 2)
    _G[p .. "tries"] = nil
  end)
end

function TestRequire:test_what_is_not_found_or_does_not_compile_is_told_as_by_require()
  with_modules({ ["@a.lua"] = "return )" }, function(p, path)
    t.assertStrContains(t.error_of(compat.require, p .. "a"),
      ("error loading module '%sa' from file '%s/%sa.lua':\n\t"):format(p, path, p))
    local theirs, ours = t.error_of(require, p .. "none"), t.error_of(compat.require, p .. "none")
    t.assertStrContains(ours, ("module '%snone' not found:\n\tno field package.preload"):format(p))
    t.assertEquals(#ours, #theirs)
  end)
end

function TestRequire:test_what_needs_lua_51_is_told()
  with_modules({
    ["@a.lua"] = "module('@a', package.seeall)",
    ["@b.lua"] = "setfenv(1, {})",
    ["@c.lua"] = "local module = module; module '@c'",
    ["@d.lua"] = "no_such_function()",
  }, function(p)
    for name, missing in pairs { a = "module", b = "setfenv", c = "module" } do
      t.assertStrContains(t.error_of(compat.require, p .. name),
        ("\nmodule '%s%s' needs '%s' of Lua 5.1, which this Lua has not: it cannot be loaded"):format(p, name, missing))
    end
    t.assertNotStrContains(t.error_of(compat.require, p .. "d"), "5.1")
  end)
end

function TestRequire:test_c_modules_standard_ones_preloaded_ones_and_asyncios_are_the_ordinary_ones()
  with_modules({ ["@a.lua"] = [[
    local list = {}
    for _, name in ipairs { "string", "math", "io", "asyncio", "asyncio.core", "asyncio.testing", "@given" } do
      list[name] = require(name)
    end
    return list]] }, function(p)
    package.preload[p .. "given"] = function() return "given" end
    local list = compat.require(p .. "a")
    package.preload[p .. "given"], package.loaded[p .. "given"] = nil, nil
    for name, value in pairs(list) do
      t.assertIs(value, name == p .. "given" and "given" or require(name), name)
    end
  end)
end

function TestRequire:test_faces_are_ours_whatever_is_installed()
  with_modules({ ["@a.lua"] = [[return { require "socket", require "socket.core", require "socket.unix",
    require "copas", require "copas.semaphore" }]] }, function(p)
    local faces = compat.require(p .. "a")
    t.assertIs(faces[1], asyncio.socket)
    t.assertIs(faces[2], asyncio.socket)
    t.assertIs(faces[3], asyncio.socket.unix)
    t.assertIs(faces[4], compat.copas)
    t.assertIs(faces[5], compat.copas.semaphore)
  end)
end

function TestRequire:test_a_module_that_is_only_in_package_loaded_is_that()
  with_modules({ ["@a.lua"] = "return require '@host'" }, function(p)
    package.loaded[p .. "host"] = "the host's"
    local value = compat.require(p .. "a")
    package.loaded[p .. "host"] = nil
    t.assertEquals(value, "the host's")
  end)
end

function TestRequire:test_a_script_that_another_searcher_finds_is_loaded_too()
  with_modules({ ["@there.lua"] = "return { require = require, name = ... }" }, function(p, path)
    local function searcher(name)
      if name ~= p .. "elsewhere" then return nil end
      return function() error "loaded by its own loader" end, path .. "/" .. p .. "there.lua"
    end
    table.insert(package.searchers, searcher)
    local ok, module = pcall(compat.require, p .. "elsewhere")
    table.remove(package.searchers)
    t.assertTrue(ok, module)
    t.assertEquals(module.name, p .. "elsewhere")
    t.assertNotIs(module.require, require)
  end)
end

function TestRequire:test_wrong_arguments_are_told()
  t.assertStrContains(t.error_of(compat.require), "bad argument #1 to 'require' (name of a module expected, got nil)")
  t.assertStrContains(t.error_of(compat.dofile, 1),
    "bad argument #1 to 'dofile' (path of a script expected, got number)")
  with_modules({ ["@a.lua"] = "return pcall(require, {}) or select(2, pcall(require, {}))" }, function(p)
    t.assertStrContains(compat.require(p .. "a"), "bad argument #1 to 'require'")
  end)
end

-- Globals

function TestGlobals:test_they_are_read_from_and_written_to_the_ordinary_ones()
  with_modules({ ["@a.lua"] = [[
    @written = @given
    function @made() return @given end
    return { _G == _ENV, _G.@given, rawequal(print, _G.print), _G._G == _G }]] }, function(p)
    _G[p .. "given"] = "given"
    t.assertEquals(compat.require(p .. "a"), { true, "given", true, true })
    t.assertEquals(_G[p .. "written"], "given")
    _G[p .. "given"] = "another"
    t.assertEquals(_G[p .. "made"](), "another")
    for _, name in ipairs { "given", "written", "made" } do _G[p .. name] = nil end
  end)
end

function TestGlobals:test_what_it_changes_of_its_own_stays_its_own()
  with_modules({ ["@a.lua"] = "require = 1; coroutine = 2; load = 3; return { require, coroutine, load }" },
    function(p)
      -- in a state of its own: all share the environment
      local out = t.lua(([[
        package.path = %q
        local compat = require("asyncio").compat
        local values = compat.require(%q)
        print(values[1], values[2], values[3], type(require), type(coroutine), type(load))
      ]]):format(package.path, p .. "a"))
      t.assertEquals(out, "1\t2\t3\tfunction\ttable\tfunction\n")
    end)
end

function TestGlobals:test_package_is_theirs_but_for_loaded()
  with_modules({ ["@a.lua"] = [[
    return { package.loaded == require "package".loaded, package.path, package.searchpath, package.loaded.string,
      package.loaded._G == _G, package.loaded.nothing, package.config, package ]] .. "}" }, function(p)
    local found = compat.require(p .. "a")
    t.assertEquals(found[1], true)
    t.assertEquals(found[2], package.path)
    t.assertIs(found[3], package.searchpath)
    t.assertIs(found[4], string)
    t.assertEquals(found[5], true)
    t.assertNil(found[6])
    t.assertEquals(found[7], package.config)
    t.assertNotIs(found[8], package)
  end)
end

function TestGlobals:test_all_are_seen_by_pairs()
  with_modules({ ["@a.lua"] = [[
    local names = {}
    for name in pairs(_G) do names[name] = true end
    return names]] }, function(p)
    local found = compat.require(p .. "a")
    for name in pairs(_G) do t.assertTrue(found[name], name) end
  end)
end

--- In a state of its own. Modules for stricter globals do so.
function TestGlobals:test_the_metatable_is_that_of_the_ordinary_ones()
  with_modules({ ["@a.lua"] = [[
    local function missing(_, name) return "no " .. name end
    local seen = { getmetatable(_G) == nil, setmetatable(_G, { __index = missing }) == _G }
    local meta = getmetatable(_G)
    function meta.__newindex(table, name, value) rawset(table, name, value .. " declared") end
    @new = "is"
    seen[3], seen[4], seen[5] = @new, rawget(_G, "@new"), unknown
    seen[6], seen[7] = rawset(_G, "@raw", 1) == _G, rawget(_G, "@raw")
    seen[8], seen[9] = rawget(_G, "require") == require, rawget(_G, "unknown") == nil
    rawset(_G, "require", "its own")
    seen[10] = require
    return seen]] }, function(p)
    local out, err = t.lua(([[
      package.path = %q
      local seen = require("asyncio").compat.require(%q)
      for i = 1, #seen do seen[i] = tostring(seen[i]) end
      print(table.concat(seen, ", "), unknown, %snew, %sraw, type(require), type(rawget))
    ]]):format(package.path, p .. "a", p, p))
    t.assertEquals(err, "")
    t.assertEquals(out, "true, true, is declared, is declared, no unknown, true, 1, true, true, its own\t"
      .. "no unknown\tis declared\t1\tfunction\tfunction\n")
  end)
end

function TestGlobals:test_metatables_of_other_tables_are_as_ever()
  with_modules({ ["@a.lua"] = [[
    local object, meta = {}, { __metatable = "kept" }
    return { setmetatable(object, meta) == object, getmetatable(object), pcall(setmetatable, object, nil),
      getmetatable "" == string or getmetatable("").__index == string, rawget({ 5 }, 1), rawset(object, 1, 2) == object,
      object[1], (select(2, pcall(getmetatable))), (select(2, pcall(rawset, 1, 2, 3))) }]] }, function(p)
    local found = compat.require(p .. "a")
    t.assertEquals({ found[1], found[2], found[3] }, { true, "kept", false })
    found = table.move(found, #found - 5, #found, 1, {})
    t.assertEquals({ found[1], found[2], found[3], found[4] }, { true, 5, true, 2 })
    t.assertStrContains(found[6], "table expected, got number")
  end)
end

function TestGlobals:test_what_it_compiles_has_its_globals()
  with_modules({
    ["@a.lua"] = [[
      local env = { x = "its own" }
      return {
        load "return require"(), load("return x", "=chunk", "t", env)(), load(function() return nil end),
        loadfile(@path)(), loadfile(@path, "t", { require = "given" })(), dofile(@path), require,
        load("return x", "=chunk", "b"), loadfile(@path, "b"),
      }]],
    ["@b.lua"] = "return require",
  }, function(p, path)
    _G[p .. "path"] = ("%s/%sb.lua"):format(path, p)
    local found = compat.require(p .. "a")
    _G[p .. "path"] = nil
    t.assertIs(found[1], found[7])
    t.assertEquals(found[2], "its own")
    t.assertIs(found[4], found[7])
    t.assertEquals(found[5], "given")
    t.assertIs(found[6], found[7])
    t.assertNil(found[8])
    t.assertNil(found[9])
  end)
end

function TestGlobals:test_a_generator_within_may_wait()
  with_modules({ ["@a.lua"] = [[
    local wrap = require "coroutine".wrap
    return { same = coroutine.wrap == wrap, each = function(wait)
      return wrap(function()
        for i = 1, 3 do
          wait(1)
          coroutine.yield(i)
        end
      end)
    end }]] }, function(p)
    t.run(function()
      local a = compat.require(p .. "a")
      t.assertTrue(a.same)
      local sum = 0
      for i in a.each(asyncio.sleep) do sum = sum + i end
      t.assertEquals(sum, 6)
    end)
  end)
end

-- Waiting while one loads

function TestWaiting:test_others_wait_for_a_module_that_waits_while_it_loads()
  with_modules({ ["@a.lua"] = "@n = (@n or 0) + 1; @sleep(1); return {}" }, function(p)
    _G[p .. "sleep"] = asyncio.sleep
    t.run(function()
      local modules = { asyncio.gather(
        asyncio.create_task(compat.require, p .. "a"), asyncio.create_task(compat.require, p .. "a"),
        asyncio.create_task(compat.require, p .. "a")) }
      t.assertIs(modules[1], modules[2])
      t.assertIs(modules[1], modules[3])
    end)
    t.assertEquals(_G[p .. "n"], 1)
    _G[p .. "n"], _G[p .. "sleep"] = nil, nil
  end)
end

function TestWaiting:test_when_it_fails_the_next_tries_again()
  with_modules({ ["@a.lua"] = "@n = (@n or 0) + 1; @sleep(1); if @n == 1 then error('first', 0) end; return @n" },
    function(p)
      _G[p .. "sleep"] = asyncio.sleep
      t.run(function()
        local first = asyncio.create_task(compat.require, p .. "a")
        local second = asyncio.create_task(compat.require, p .. "a")
        asyncio.wait { first, second }
        t.assertEquals(first:exception(), "first")
        t.assertEquals((second:result()), 2)
      end)
      _G[p .. "n"], _G[p .. "sleep"] = nil, nil
    end)
end

function TestWaiting:test_when_it_is_cancelled_the_next_loads_it()
  with_modules({ ["@a.lua"] = "@n = (@n or 0) + 1; @sleep(1); return @n" }, function(p)
    _G[p .. "sleep"] = asyncio.sleep
    t.run(function()
      local first = asyncio.create_task(compat.require, p .. "a")
      local second = asyncio.create_task(compat.require, p .. "a")
      local third = asyncio.create_task(compat.require, p .. "a")
      asyncio.sleep(0.5)
      first:cancel()
      third:cancel()
      t.assertEquals((asyncio.await(second)), 2)
      t.assertTrue(first:cancelled())
      t.assertTrue(third:cancelled())
    end)
    _G[p .. "n"], _G[p .. "sleep"] = nil, nil
  end)
end

function TestWaiting:test_two_tasks_whose_modules_need_each_other_do_not_wait_for_ever()
  with_modules({
    ["@a.lua"] = "@sleep(1); return { require '@b' }",
    ["@b.lua"] = "@sleep(1); return { require '@a' }",
  }, function(p)
    _G[p .. "sleep"] = asyncio.sleep
    t.run(function()
      local a = asyncio.create_task(compat.require, p .. "a")
      local b = asyncio.create_task(compat.require, p .. "b")
      asyncio.wait { a, b }
      t.assertStrContains(tostring(a:exception()), "loop or previous error loading module")
      t.assertStrContains(tostring(b:exception()), "loop or previous error loading module")
    end)
    _G[p .. "sleep"] = nil
  end)
end

-- Scripts

function TestDofile:test_a_script_runs_with_its_arguments_and_may_wait()
  with_modules({
    ["@script.lua"] = "local a = require '@a'; @sleep(1); return a, select('#', ...), ...",
    ["@a.lua"] = "return {}",
  }, function(p, path)
    _G[p .. "sleep"] = asyncio.sleep
    t.run(function()
      local results = table.pack(compat.dofile(path .. "/" .. p .. "script.lua", "x", nil))
      t.assertIs(results[1], (compat.require(p .. "a")))
      t.assertEquals({ results[2], results[3], results[4], results.n }, { 2, "x", nil, 4 })
    end)
    _G[p .. "sleep"] = nil
  end)
end

function TestDofile:test_a_script_that_is_not_there_is_told()
  t.assertStrContains(t.error_of(compat.dofile, "/no/such/script.lua"), "/no/such/script.lua")
end

-- For the whole state

function TestInstall:test_what_is_required_from_now_on_is_ours()
  local out, errors, code = t.lua [[
    local asyncio = require "asyncio"
    local before = coroutine
    asyncio.compat.install()
    print(coroutine == asyncio.coroutine, require "coroutine" == coroutine, coroutine == before)
    print(require "socket" == asyncio.socket, require "socket.core" == asyncio.socket,
      require "socket.unix" == asyncio.socket.unix, require "copas" == asyncio.compat.copas,
      require "copas.lock" == asyncio.compat.copas.lock)
    local vim_async = asyncio.compat.vim_async
    asyncio.run(function()
      local sum = 0
      for i in coroutine.wrap(function()
        for i = 1, 3 do
          asyncio.sleep(0.001)
          coroutine.yield(i)
        end
      end) do sum = sum + i end
      print(sum)
      print(vim_async.run(function()
        vim_async.sleep(1)
        return "vim"
      end):wait())
    end)
  ]]
  t.assertEquals({ out, errors, code }, { "true\ttrue\tfalse\ntrue\ttrue\ttrue\ttrue\ttrue\n6\nvim\n", "", 0 })
end

t.finish()
