"""Holds the source tree to its own rules: who may include whom, one owner for each library, forbidden words, sizes, headings.

It reads text only and knows no C++: what a compiler can check stays with the compiler. `tidy.py ROOT` prints FILE:LINE: RULE for each
breach and ends with 1 where there is one; `tidy.py --self-test` shows that each rule can fail.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

FILE_LINES_MAX = 600

# Which folders of ours a folder may include from (docs/architecture.md). `cli` and the tests see everything.
MAY_SEE = {
    "config": set(),
    "backoff": set(),
    "protocol": set(),
    "crypto": set(),
    "proxy": {"protocol", "backoff", "config", "crypto"},
    "health": {"backoff", "config"},
    "admin": {"config"},
    "workload": set(),
}

# Interfaces of other folders that a folder may see beyond the table: small, and without types of third-party libraries.
ALSO = {
    "admin": r"proxy/task\.hpp|crypto/hash\.hpp|(proxy|health)/[a-z_/]*(observer|status|state|metrics|counters|event|types)[a-z_]*\.hpp",
    "health": r"proxy/(task|upstream[a-z_]*|standing[a-z_]*)\.hpp",
    "protocol": r"crypto/(scram|hash|base64|random)\.hpp",
}

# Each third-party library and the only places that may include it.
OWNERS = {
    "yaml-cpp": (r"yaml-cpp/", r"config/|tests/unit/config/"),
    "libpg_query": (r"(pg_query|protobuf/|protobuf-c/)", r"protocol/postgres/|tests/(unit|fuzz)/protocol/"),
    "libbson": (r"bson", r"protocol/mongo/|tests/(unit|fuzz)/protocol/"),
    "zlib, libzstd, snappy": (r"(zlib|zstd|snappy)\.h", r"protocol/mongo/"),
    "xxhash": (r"xxhash", r"protocol/postgres/|tests/(unit|fuzz)/protocol/"),
    "Beast": (r"boost/beast", r"admin/|cli/(remote|admin_client)[a-z_]*\.cpp|tests/unit/admin/|cmake/asio\.cpp"),
    "Boost.JSON": (r"boost/json", r"admin/|cli/|tests/unit/admin/"),
    "prometheus-cpp": (r"prometheus/", r"admin/|tests/unit/admin/"),
    "libmongoc": (r"mongoc", r"workload/mongo"),
    "libpq": (r"(libpq-fe|libpq/|postgresql/)", r"health/|workload/|tests/"),
    "OpenSSL": (r"openssl/", r"crypto/|proxy/(\w+/)*(tls|stream)[a-z_]*\.[ch]pp|tests/unit/(crypto|proxy)/|cmake/"),
    "Asio": (r"boost/asio", r"proxy/|health/|admin/|cli/|tests/|cmake/|bench/"),
    "spdlog": (r"spdlog/", r"proxy/|health/|admin/|cli/"),
    "CLI11": (r"CLI/", r"cli/"),
    "GoogleTest": (r"(gtest|gmock)/", r"tests/"),
}

# Words that no file may hold, and where they may stand all the same.
FORBIDDEN = {
    r"\b(TODO|FIXME|XXX|HACK)\b(?!\d)": None,
    r"asio::detached": None,
    r"\bsleep_for\b|\busleep\(|std::this_thread::sleep_until": r"workload/|bench/|tests/support/|cli/remote\.cpp",
    r"/work/shared|/work/main": None,
    r"using namespace std;": None,
}

OURS = ("admin", "backoff", "bench", "cli", "cmake", "config", "crypto", "deploy", "health", "protocol", "proxy", "tests", "workload")
SOURCES = {".cpp", ".hpp", ".h"}
COMMENTS = {".cpp": "//", ".hpp": "//", ".h": "//", ".py": ('"""', "#"), ".cmake": "#", ".sh": "#", ".go": "//",
            ".rs": ("//!", "//"), ".java": "//", ".js": "//", ".ts": "//", ".tsx": "//", ".css": ("/*",)}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


def tracked(root):
    """The files of the repository, also those not committed yet, but none that git ignores."""
    try:
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"], check=True, capture_output=True)
        names = [name for name in listed.stdout.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = [str(path.relative_to(root)) for path in root.rglob("*") if ".git" not in path.parts and "build" not in path.parts[:1]]
    return sorted({name for name in names if (root / name).is_file()})


def include_breaches(name, line, included):
    """What is wrong with one #include of the file `name`."""
    folder = name.split("/")[0]
    target = included.split("/")[0]
    if folder in MAY_SEE and target in OURS and target != folder and target not in MAY_SEE[folder]:
        if not (folder in ALSO and re.fullmatch(ALSO[folder], included)):
            yield line, f"{folder}/ must not see {included}"
    if re.match(r"proxy/(upstream|standing)[a-z_]*\.", name) and target == "protocol" and "/" in included.removeprefix("protocol/"):
        yield line, f"the upstream knows no protocol, so not {included}"
    for library, (pattern, owner) in OWNERS.items():
        if re.match(pattern, included) and not re.match(owner, name):
            yield line, f"{library} does not belong here, so not {included}"


def leaking_headers(root, names):
    """{header: library} for the headers that show a library's types: only their own folder may include them."""
    found = {}
    for name in names:
        if name.endswith(".hpp") and name.split("/")[0] in ("config", "protocol", "health", "crypto"):
            for line in (root / name).read_text(encoding="utf-8").split("\n"):
                include = INCLUDE.match(line)
                for library in ("yaml-cpp", "libpg_query", "xxhash", "libpq", "OpenSSL"):
                    if include and re.match(OWNERS[library][0], include[1]):
                        found[name] = library
    return found


def opens_with_a_sentence(name, lines):
    """Whether the file's first line of words is a comment that holds a sentence."""
    if pathlib.PurePath(name).suffix == ".cmake" and not name.startswith("cmake/"):
        return True
    signs = COMMENTS[pathlib.PurePath(name).suffix]
    signs = signs if isinstance(signs, tuple) else (signs,)
    body = [line for line in lines if line.strip() and not line.startswith("#!")]
    if not body or not body[0].startswith(signs):
        return False
    head = []
    for line in body:
        if head and not line.startswith(signs[-1]) and signs[0] != '"""':
            break
        head.append(line)
        if re.search(r"[.:]\s*(\"\"\")?\s*$", line) or len(head) > 12:
            break
    text = " ".join(head)
    # The header says what a pair of files is for; its source may be short about it.
    header = pathlib.PurePath(name).with_suffix(".hpp")
    words_min = 3 if any(line == f'#include "{header}"' for line in lines[:5]) else 6
    return len(text.split()) >= words_min and re.search(r"[.:]", text) is not None


def breaches(root, name, leaking):
    """Yields (line, rule) for each breach in one file. `leaking` is what `leaking_headers` found."""
    suffix = pathlib.PurePath(name).suffix
    try:
        text = (root / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    lines = text.split("\n")
    is_tidy = name == "tests/tidy/tidy.py"
    code = suffix in SOURCES or suffix in (".py", ".cmake", ".txt", ".go", ".rs", ".java", ".js", "") and name.startswith(OURS)
    if code and "fuzz/corpus" not in name:
        for number, line in enumerate(lines, 1):
            if line != line.rstrip():
                yield number, "trailing whitespace"
            if suffix in SOURCES and "\t" in line:
                yield number, "a tab"
            for pattern, where in FORBIDDEN.items():
                if not is_tidy and re.search(pattern, line) and not (where and re.match(where, name)):
                    yield number, f"forbidden: {re.search(pattern, line)[0]}"
        if text and not text.endswith("\n"):
            yield len(lines), "no newline at the end"
    if suffix in SOURCES:
        for number, line in enumerate(lines, 1):
            found = INCLUDE.match(line)
            if found:
                yield from include_breaches(name, number, found[1])
                if found[1] in leaking and found[1].split("/")[0] != name.split("/")[0] and not name.startswith("tests/"):
                    yield number, f"{found[1]} shows {leaking[found[1]]}, which stays in its folder"
        if suffix != ".cpp" and "#pragma once" not in text:
            yield 1, "a header without #pragma once"
    if suffix in COMMENTS:
        if not opens_with_a_sentence(name, lines) and text.strip():
            yield 1, "the file does not open with a sentence that says what it does"
        if len(lines) - 1 > FILE_LINES_MAX and "generated" not in lines[0]:
            yield FILE_LINES_MAX + 1, f"{len(lines) - 1} lines; {FILE_LINES_MAX} are the limit"
    if suffix == ".md" or name in ("README.md", "CHANGELOG.md"):
        for number, line in enumerate(lines, 1):
            if re.search(r"/work/(shared|main)", line):
                yield number, "a path of somebody's machine"


def check(root):
    """Prints every breach; their number."""
    count = 0
    names = tracked(root)
    leaking = leaking_headers(root, names)
    for name in names:
        for line, rule in breaches(root, name, leaking):
            print(f"{name}:{line}: {rule}")
            count += 1
    print(f"tidy: {len(names)} files, {count} breaches")
    return count


# (file, its text, a word of the rule that it breaks; None: it breaks none)
EXAMPLES = [
    ("proxy/a.cpp", "// Does a thing, and not another one.\n#include <yaml-cpp/yaml.h>\n", "yaml-cpp"),
    ("protocol/a.cpp", "// Does a thing, and not another one.\n#include <boost/asio.hpp>\n", "Asio"),
    ("backoff/a.hpp", "// Does a thing, and not another one.\n#pragma once\n#include \"config/config.hpp\"\n", "must not see"),
    ("proxy/upstream.cpp", "// Does a thing, and not another one.\n#include \"protocol/postgres/frame.hpp\"\n", "no protocol"),
    ("cli/a.cpp", "// Does a thing, and not another one.\n#include \"health/leaks.hpp\"\n", "stays in its folder"),
    ("health/leaks.hpp", "// Does a thing, and not another one.\n#pragma once\n#include <libpq-fe.h>\n", None),
    ("proxy/b.cpp", "// Does a thing, and not another one.\n#include <libpq-fe.h>\n", "libpq"),
    ("proxy/c.cpp", "// Does a thing, and not another one.\nco_spawn(x, y, asio::detached);\n", "forbidden"),
    ("proxy/d.cpp", "// Does a thing, and not another one.\n// TO" "DO: later\n", "forbidden"),
    ("proxy/e.cpp", "// Does a thing, and not another one.\nint a;  \n", "trailing"),
    ("proxy/f.cpp", "int a;\n", "sentence"),
    ("proxy/g.cpp", "// Does a thing, and not another one.\n" + "int a;\n" * 600, "lines"),
    ("proxy/h.hpp", "// Does a thing, and not another one.\n", "pragma"),
    ("health/i.cpp", "// Does a thing, and not another one.\nstd::this_thread::sleep_for(1s);\n", "forbidden"),
    ("admin/j.cpp", "// Does a thing, and not another one.\n#include \"proxy/listener.hpp\"\n", "must not see"),
    ("crypto/k.cpp", "// Does a thing, and not another one.\n#include <openssl/evp.h>\n#include \"crypto/k.hpp\"\n", None),
    ("proxy/tls_context.hpp", "// Does a thing, and not another one.\n#pragma once\n#include <openssl/ssl.h>\n", None),
    ("workload/l.cpp", "// Does a thing, and not another one.\nstd::this_thread::sleep_for(1s);\n", None),
]


def self_test():
    """Each example breaks its rule, or none."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text, _ in EXAMPLES:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        leaking = leaking_headers(root, [name for name, _, _ in EXAMPLES])
        for name, _, rule in EXAMPLES:
            found = [words for _, words in breaches(root, name, leaking)]
            assert (rule is None and not found) or (rule is not None and any(rule in words for words in found)), (name, rule, found)
    print(f"tidy: {len(EXAMPLES)} examples")


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    else:
        sys.exit(1 if check(pathlib.Path(sys.argv[1]).resolve()) else 0)
