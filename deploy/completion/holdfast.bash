# Completes holdfast's commands, flags and connection ids in bash. It needs no other completion package.
# Put it into /usr/share/bash-completion/completions/holdfast, or source it.

# Ids of the connections of the running proxy, asked with what the line so far says of the admin port.
_holdfast_connections() {
  local -a remote=()
  local i
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case ${COMP_WORDS[i]} in
      --admin | --token-file | --ca-file | --cert-file | --key-file)
        # Bash splits an address at its colons: what stands together is put together again.
        local flag=${COMP_WORDS[i]} value=
        while ((++i < COMP_CWORD)); do
          value+=${COMP_WORDS[i]}
          [[ ${COMP_WORDS[i]} == *: || ${COMP_WORDS[i + 1]} == :* ]] || break
        done
        remote+=("$flag" "$value")
        ;;
    esac
  done
  "${COMP_WORDS[0]}" status --json ${remote[@]+"${remote[@]}"} 2>/dev/null |
    grep -o '"connectionId":"[^"\\]*"' | cut -d '"' -f 4
}

_holdfast() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  local command=
  ((COMP_CWORD > 1)) && command=${COMP_WORDS[1]}
  COMPREPLY=()

  case $command:$before in
    *:-c | *:--config | *:--token-file | *:--ca-file | *:--cert-file | *:--key-file)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return
      ;;
    run:--admin)
      mapfile -t COMPREPLY < <(compgen -W "off 127.0.0.1:9930" -- "$word")
      return
      ;;
    *:--admin | *:--since | *:--for | *:--upstream | *:--listen | *:--set) return ;;
  esac

  local words
  case $command in
    "") words="run check demo ledger status reconnect pause resume events config health --version --help" ;;
    run) words="--config --upstream --listen --admin --set --help" ;;
    check) words="--config --help" ;;
    demo) words="postgres mongodb --for --model --stay --help" ;;
    status) words="--admin --token-file --ca-file --cert-file --key-file --json --watch --help" ;;
    events) words="--admin --token-file --ca-file --cert-file --key-file --follow --since --json --help" ;;
    config | health) words="--admin --token-file --ca-file --cert-file --key-file --help" ;;
    ledger) words="--drop" ;;
    reconnect | pause | resume)
      words="--admin --token-file --ca-file --cert-file --key-file --help"
      [[ $word == -* ]] || words=$(_holdfast_connections)
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _holdfast holdfast
