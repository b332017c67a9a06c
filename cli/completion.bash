# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion for onchannel(1)
_onchannel()
{
        local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
        local command=${COMP_WORDS[1]} words=

        COMPREPLY=()
        if [ "$COMP_CWORD" -eq 1 ]; then
                words='status why notices my-data catalogue policy key enrol evidence --help --version'
        elif [ "$COMP_CWORD" -eq 2 ]; then
                case $command in
                catalogue) words='check build show search diff install' ;;
                policy) words='new check diff test keys sign install' ;;
                key) words='new' ;;
                evidence) words='verify' ;;
                esac
        fi
        if [[ $cur == -* && $COMP_CWORD -gt 1 ]]; then
                words='--json --socket --help'
                case $command:${COMP_WORDS[2]} in
                why:*) words+=' --user' ;;
                notices:*) words+=' --follow' ;;
                catalogue:build) words+=' --output --version --serial --key' ;;
                policy:new) words+=' --organisation --force' ;;
                policy:check) words+=' --catalogue --strict' ;;
                policy:diff) words+=' --catalogue --device --user --at' ;;
                policy:test) words+=' --catalogue --at' ;;
                policy:sign) words+=' --key --add --channels --output --catalogue' ;;
                catalogue:show) words+=' --summary' ;;
                catalogue:search) words+=' --catalogue' ;;
                catalogue:diff) words+=' --policy --device --user' ;;
                policy:install | catalogue:install) words+=' --incoming' ;;
                key:new) words+=' --password --force' ;;
                enrol:*) words+=' --token --ca --config' ;;
                evidence:verify) words+=' --device-key' ;;
                esac
        fi
        if [[ $command:$prev == @(why|policy):--user ]]; then
                mapfile -t COMPREPLY < <(compgen -u -- "$cur")
        elif [ -n "$words" ]; then
                mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
        else
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        fi
}
complete -o filenames -F _onchannel onchannel
