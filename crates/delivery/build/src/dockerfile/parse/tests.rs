//! Dockerfiles in, stages or problems out.

use expect_test::{Expect, expect};

use super::parse;

fn check(text: &str, expected: Expect) {
    let shown = match parse("Dockerfile", text) {
        Ok(parsed) => {
            let mut out = String::new();
            for (name, default) in &parsed.global_args {
                out += &format!("ARG {name} {default:?}\n");
            }
            for stage in &parsed.stages {
                out += &format!("FROM {} as {:?} platform {:?}\n", stage.base, stage.name, stage.platform);
                for step in &stage.steps {
                    out += &format!("{}: {:?}\n", step.place.line, step.instruction);
                }
            }
            for warning in &parsed.warnings {
                out += &format!("{warning}\n");
            }
            out
        }
        Err(problems) => format!("{problems}\n"),
    };
    expected.assert_eq(&shown);
}

#[test]
fn stages_and_comments() {
    check(
        "# syntax=docker/dockerfile:1\nARG V=3\n\n# a comment\nFROM --platform=$BUILDPLATFORM rust:${V} AS Build\n  WORKDIR /src\nfrom scratch\ncopy --from=build /a /b\n",
        expect![[r#"
            ARG V Some("3")
            FROM rust:${V} as Some("build") platform Some("$BUILDPLATFORM")
            6: Workdir("/src")
            FROM scratch as None platform None
            8: Copy(Copy { add: false, sources: ["/a"], inline: [], destination: "/b", from: Some("build"), chown: None, chmod: None, exclude: [] })
        "#]],
    );
}

#[test]
fn continuations_skip_comments_and_blank_lines() {
    check(
        "FROM a\nRUN one \\\n  # not shown\n\n  && two \\ \n  && three\nENV A=1 \\\n    B=\"two words\" C=x\\ y\n",
        expect![[r#"
            FROM a as None platform None
            2: Run(Run { command: Shell("one   && two   && three"), offline: false })
            7: Env([("A", "1"), ("B", "\"two words\""), ("C", "x\\ y")])
        "#]],
    );
    check(
        "# escape=`\nFROM a\nRUN one `\n two\n",
        expect![[r#"
            FROM a as None platform None
            3: Run(Run { command: Shell("one  two"), offline: false })
        "#]],
    );
}

#[test]
fn both_forms() {
    check(
        "FROM a\nCMD [\"a\", \"b c\"]\nENTRYPOINT exec x\nCMD ['a']\nSHELL [\"/bin/bash\", \"-c\"]\nVOLUME [\"/a b\"]\nVOLUME /a /b\nEXPOSE 80 443/tcp\nENV old style value\nLABEL a.b=\"c\"\nSTOPSIGNAL SIGTERM\nUSER 1:2\nONBUILD RUN x\nHEALTHCHECK --interval=1m30s --retries=3 CMD [\"curl\"]\nHEALTHCHECK NONE\nARG X Y=1\nADD --chown=a:b --chmod=644 --link [\"a b\", \"/c d\"]\n",
        expect![[r#"
            FROM a as None platform None
            2: Cmd(Exec(["a", "b c"]))
            3: Entrypoint(Shell("exec x"))
            4: Cmd(Shell("['a']"))
            5: Shell(["/bin/bash", "-c"])
            6: Volume(["/a b"])
            7: Volume(["/a", "/b"])
            8: Expose(["80", "443/tcp"])
            9: Env([("old", "style value")])
            10: Label([("a.b", "\"c\"")])
            11: StopSignal("SIGTERM")
            12: User("1:2")
            14: Healthcheck(Check { command: Exec(["curl"]), durations_nanos: {"interval": 90000000000}, retries: Some(3) })
            15: Healthcheck(None)
            16: Arg([("X", None), ("Y", Some("1"))])
            17: Copy(Copy { add: true, sources: ["a b"], inline: [], destination: "/c d", from: None, chown: Some("a:b"), chmod: Some("644"), exclude: [] })
            Dockerfile:4:5: this is not a JSON array, so the shell will run it as it stands
              4 | CMD ['a']
                |     ^ use double quotes: ["command", "argument"]
            Dockerfile:13:1: ONBUILD is ignored: images in the OCI format do not carry it
              13 | ONBUILD RUN x
                 | ^
        "#]],
    );
}

#[test]
fn here_documents() {
    check(
        "FROM a\nRUN <<EOF\necho one\n  echo two\nEOF\nRUN cat <<-E > /x\n\tbody\n\tE\nCOPY <<\"conf\" <<B /etc/\n$keep\nconf\n$expand\nB\nRUN echo $((1<<2)) <<<here\n",
        expect![[r#"
            FROM a as None platform None
            2: Run(Run { command: Shell("echo one\n  echo two\n"), offline: false })
            6: Run(Run { command: Shell("cat <<-E > /x\n\tbody\n\tE\n"), offline: false })
            9: Copy(Copy { add: false, sources: [], inline: [InlineFile { name: "conf", content: "$keep\n", expands: false }, InlineFile { name: "B", content: "$expand\n", expands: true }], destination: "/etc/", from: None, chown: None, chmod: None, exclude: [] })
            14: Run(Run { command: Shell("echo $((1<<2)) <<<here"), offline: false })
        "#]],
    );
}

#[test]
fn every_problem_is_shown_where_it_is() {
    check(
        "FORM alpine\nRUN x\n",
        expect![[r#"
            Dockerfile:1:1: unknown instruction "FORM"
              1 | FORM alpine
                | ^ did you mean FROM?
            Dockerfile:2:1: RUN stands before the first FROM
              2 | RUN x
                | ^ begin with FROM IMAGE, or FROM scratch
        "#]],
    );
    check(
        "FROM a b\nFROM a AS x\nFROM b AS X\n  CPOY a b\nCOPY onlyone\nRUN\nCOPY --form=x a b\nENV A=1 \\\n   B\nADD https://example.org/x /x\nSHELL bash\nRUN --mount=type=secret,id=x y\nHEALTHCHECK --interval=often CMD x\nEXPOSE\n",
        expect![[r#"
            Dockerfile:1:8: FROM takes an image, and AS with a name
              1 | FROM a b
                |        ^ FROM IMAGE AS NAME
            Dockerfile:3:11: there is a stage called "X" already
              3 | FROM b AS X
                |           ^
            Dockerfile:4:3: unknown instruction "CPOY"
              4 |   CPOY a b
                |   ^ did you mean COPY?
            Dockerfile:5:6: COPY needs a source and a destination
              5 | COPY onlyone
                |      ^ COPY SOURCE DESTINATION
            Dockerfile:6:1: RUN needs a command
              6 | RUN
                | ^
            Dockerfile:7:6: COPY does not know --form
              7 | COPY --form=x a b
                |      ^
            Dockerfile:9:4: "B" is not NAME=VALUE
              9 |    B
                |    ^ quote values that contain spaces
            Dockerfile:10:5: ADD does not fetch "https://example.org/x": what a build uses must be in the repository or an image
              10 | ADD https://example.org/x /x
                 |     ^ fetch it in a RUN step, or commit it
            Dockerfile:11:7: SHELL takes a JSON array
              11 | SHELL bash
                 |       ^ SHELL ["/bin/bash", "-c"]
            Dockerfile:12:5: --mount of type secret is not supported
              12 | RUN --mount=type=secret,id=x y
                 |     ^ COPY what the command needs
            Dockerfile:13:13: --interval cannot be "often"
              13 | HEALTHCHECK --interval=often CMD x
                 |             ^ a duration looks like 30s or 1m30s
            Dockerfile:14:1: EXPOSE needs a port
              14 | EXPOSE
                 | ^
        "#]],
    );
    check(
        "# only a comment\n",
        expect![[r#"
            Dockerfile:1:1: there is no FROM, so there is nothing to build
              1 | # only a comment
                | ^ begin with FROM IMAGE, or FROM scratch
        "#]],
    );
    check(
        "FROM a\nRUN <<EOF\nforever\n",
        expect![[r#"
            Dockerfile:2:5: the here-document "EOF" does not end
              2 | RUN <<EOF
                |     ^ put a line with only EOF after it
        "#]],
    );
}
