#compdef vmha
# zsh completion of vmha. Made by: vmha completion zsh
_vmha() {
    local kind word text
    local -a found
    {
        IFS= read -r kind
        while IFS=$'\t' read -r word text; do
            found+=("${word//:/\\:}${text:+:$text}")
        done
    } < <(_VMHA_COMPLETE=1 "${words[1]}" "${(@)words[2,CURRENT]}" 2>/dev/null </dev/null)
    if [[ $kind == files ]]; then
        _files
    elif (( $#found )); then
        _describe vmha found
    fi
}
if [[ $funcstack[1] == _vmha ]]; then
    _vmha "$@"
else
    compdef _vmha vmha
fi
